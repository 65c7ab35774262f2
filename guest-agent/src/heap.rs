// SPDX-License-Identifier: Apache-2.0

//! Memory for a worker: a copy of the agent that goes on as a program of its own.
//!
//! The C library's allocator has locks, and one that another thread of the agent held at the fork is held in the copy for
//! ever. So a worker gets its memory from an arena that it makes for itself. It has one thread, so there is nothing to
//! lock, and a bound. What it has inherited it never frees.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{self, null_mut};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// More than a worker ever holds (see `tree`). What it does not touch costs nothing.
const ARENA_BYTES: usize = 64 << 20;
/// Blocks have sizes of 2^n, from 16 bytes on.
const SMALLEST: u32 = 4;
const CLASSES: usize = 24;
/// What no block is aligned beyond.
const PAGE: usize = 4096;

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Arena { start: 0, next: 0, end: 0, free: [0; CLASSES] }));

struct Heap(UnsafeCell<Arena>);

// SAFETY: only a worker changes it, which has one thread; in the agent it is read only.
unsafe impl Sync for Heap {}

struct Arena {
    /// 0 in the agent.
    start: usize,
    next: usize,
    end: usize,
    /// The first free block of each size; a free block begins with the address of the next.
    free: [usize; CLASSES],
}

/// From now on this process, a copy of the agent with one thread, allocates for itself.
pub(crate) fn separate() -> Result<(), Errno> {
    // SAFETY: a mapping of its own. Nobody else runs in this process, so nobody else uses the arena.
    unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let start = mmap_anonymous(null_mut(), ARENA_BYTES, ProtFlags::READ | ProtFlags::WRITE, flags)? as usize;
        *HEAP.0.get() = Arena { start, next: start, end: start + ARENA_BYTES, free: [0; CLASSES] };
    }
    Ok(())
}

/// The size of the block for a layout, as a power of two.
fn order(layout: Layout) -> u32 {
    layout.size().max(layout.align()).max(1 << SMALLEST).next_power_of_two().trailing_zeros()
}

impl Arena {
    fn is_separate(&self) -> bool {
        self.start != 0
    }

    fn owns(&self, block: *mut u8) -> bool {
        (self.start..self.end).contains(&(block as usize))
    }

    /// A block, or null when there is no room.
    ///
    /// # Safety
    /// Nobody else uses the arena.
    unsafe fn take(&mut self, layout: Layout) -> *mut u8 {
        let order = order(layout);
        let Some(free) = self.free.get_mut((order - SMALLEST) as usize) else { return null_mut() };
        if layout.align() > PAGE {
            return null_mut();
        }
        if *free != 0 {
            let block = *free as *mut u8;
            // SAFETY: a free block of the arena begins with the address of the next.
            *free = unsafe { block.cast::<usize>().read() };
            return block;
        }
        let block = self.next.next_multiple_of((1 << order).min(PAGE));
        match block.checked_add(1 << order).filter(|&end| end <= self.end) {
            Some(end) => self.next = end,
            None => return null_mut(),
        }
        block as *mut u8
    }

    /// # Safety
    /// The block was taken from here for this layout, and is used no more.
    unsafe fn give_back(&mut self, block: *mut u8, layout: Layout) {
        if let Some(free) = self.free.get_mut((order(layout) - SMALLEST) as usize) {
            // SAFETY: the block is the arena's, has room for an address, and is aligned for it.
            unsafe { block.cast::<usize>().write(*free) };
            *free = block as usize;
        }
    }
}

// SAFETY: blocks are as large and as aligned as asked for, and handed out once until they come back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let arena = self.0.get();
        // SAFETY: a worker has one thread; the agent only reads.
        unsafe { if (*arena).is_separate() { (*arena).take(layout) } else { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let arena = self.0.get();
        // SAFETY: as above; what a worker has inherited stays as it is.
        unsafe {
            if !(*arena).is_separate() {
                System.dealloc(block, layout);
            } else if (*arena).owns(block) {
                (*arena).give_back(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; the caller answers for the layout that comes of it.
        unsafe {
            let arena = self.0.get();
            if !(*arena).is_separate() {
                return System.realloc(block, layout, size);
            }
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            if (*arena).owns(block) && order(wanted) == order(layout) {
                return block;
            }
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(memory: &mut [u64]) -> Arena {
        let start = memory.as_ptr() as usize;
        Arena { start, next: start, end: start + size_of_val(memory), free: [0; CLASSES] }
    }

    #[test]
    fn blocks_are_apart_aligned_and_used_again() {
        let mut memory = vec![0; 8 << 10];
        let mut arena = arena(&mut memory);
        let layouts: Vec<_> = [(1, 1), (24, 8), (16, 16), (100, 64), (4096, 4096), (5000, 1)]
            .map(|(size, align)| Layout::from_size_align(size, align).unwrap())
            .into();
        // SAFETY: the arena is this test's, and the blocks go back as they came.
        unsafe {
            let blocks: Vec<_> = layouts.iter().map(|&layout| arena.take(layout) as usize).collect();
            for (index, (&block, layout)) in blocks.iter().zip(&layouts).enumerate() {
                assert!(arena.owns(block as *mut u8) && block % layout.align() == 0, "{layout:?}");
                for (&other, others) in blocks[..index].iter().zip(&layouts) {
                    assert!(other + others.size() <= block || block + layout.size() <= other);
                }
            }
            for (&block, &layout) in blocks.iter().zip(&layouts) {
                arena.give_back(block as *mut u8, layout);
            }
            for (&block, &layout) in blocks.iter().zip(&layouts).rev() {
                assert_eq!(arena.take(layout) as usize, block, "{layout:?}");
            }
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut memory = vec![0; 1 << 10];
        let mut arena = arena(&mut memory);
        // SAFETY: the arena is this test's.
        unsafe {
            assert!(arena.take(Layout::from_size_align(16 << 10, 1).unwrap()).is_null());
            assert!(arena.take(Layout::from_size_align(1 << 40, 1).unwrap()).is_null());
            assert!(arena.take(Layout::from_size_align(1, 8192).unwrap()).is_null());
            let one = Layout::from_size_align(1, 1).unwrap();
            assert_eq!((0..).take_while(|_| !arena.take(one).is_null()).count(), (8 << 10) / 16);
        }
    }
}
