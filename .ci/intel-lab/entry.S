# SPDX-License-Identifier: Apache-2.0
#
# Stands where a bzImage has its decompressor: finds the kernel behind it uncompressed, moves it to where it is linked
# to run, and enters it as the decompressor does (Linux's Documentation/x86/boot.rst, "64-bit Boot Protocol"). In
# software emulation that saves 4.8 G instructions of each boot, well over a minute.
#
# Entered at 1 MiB in 32-bit protected mode, flat segments, interrupts off, ESI at the boot_params.

        .set    LOADED, 0x101000        # behind this code, which setup pads to a page
        .set    KERNEL, 0x1000000       # CONFIG_PHYSICAL_START
        .set    TABLES, 0x110000        # a PML4, a PDPT, four PDs: 4 GiB, mapped to themselves
        .set    SYSSIZE, 0x1f4          # boot_params.hdr: all that is loaded, in units of 16 bytes
        .set    INIT_SIZE, 0x260        # the memory that the kernel takes from KERNEL on until it reads its memory map

        .code32
        .globl  _start
_start:
        # Backwards, since the two overlap.
        mov     SYSSIZE(%esi), %ecx
        shl     $4, %ecx
        sub     $0x1000, %ecx
        mov     %esi, %ebp
        mov     %ecx, %ebx
        lea     LOADED - 4(%ecx), %esi
        lea     KERNEL - 4(%ecx), %edi
        shr     $2, %ecx
        std
        rep movsl
        cld

        lea     KERNEL(%ebx), %edi
        mov     INIT_SIZE(%ebp), %ecx
        sub     %ebx, %ecx
        shr     $2, %ecx
        xor     %eax, %eax
        rep stosl

        mov     $TABLES, %edi
        mov     $(6 * 1024), %ecx
        rep stosl
        movl    $(TABLES + 0x1003), TABLES
        mov     $(TABLES + 0x1000), %edi
        mov     $(TABLES + 0x2003), %eax
1:      mov     %eax, (%edi)
        add     $8, %edi
        add     $0x1000, %eax
        cmp     $(TABLES + 0x6003), %eax
        jne     1b
        mov     $(TABLES + 0x2000), %edi
        mov     $0x83, %eax             # present, writable, 2 MiB
        mov     $2048, %ecx
2:      mov     %eax, (%edi)
        add     $8, %edi
        add     $0x200000, %eax
        loop    2b

        lgdt    table
        mov     %cr4, %eax
        or      $0x20, %eax             # PAE
        mov     %eax, %cr4
        mov     $TABLES, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx       # EFER
        rdmsr
        or      $0x100, %eax            # LME
        wrmsr
        mov     %cr0, %eax
        or      $0x80000001, %eax       # PG, PE
        mov     %eax, %cr0
        ljmp    $0x10, $3f              # __BOOT_CS

        .code64
3:      mov     $0x18, %eax             # __BOOT_DS
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %ebp, %esi
        mov     $KERNEL, %eax
        jmp     *%rax

        .balign 8
descriptors:
        .quad   0, 0, 0x00af9a000000ffff, 0x00cf92000000ffff
table:  .word   table - descriptors - 1
        .long   descriptors
