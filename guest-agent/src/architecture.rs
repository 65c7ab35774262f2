// SPDX-License-Identifier: Apache-2.0

//! What modules may know of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module, and the others that its `crate::` paths lead to.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        let module = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["architecture", "lib", "main"].contains(&module.as_str()) {
            let mut used = names(&fs::read_to_string(file).unwrap());
            used.remove(&module);
            uses.insert(module, used);
        }
    }
    uses
}

/// The names that follow `crate::`, alone or in braces.
fn names(source: &str) -> BTreeSet<String> {
    let depth = |character| match character {
        '{' => 1,
        '}' => -1,
        _ => 0,
    };
    let name = |path: &str| path.chars().take_while(|&letter| letter.is_alphanumeric() || letter == '_').collect();
    let code: Vec<_> = source.lines().filter_map(|line| line.split("//").next()).map(str::trim).collect();
    let mut names = BTreeSet::new();
    for path in code.join(" ").split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            names.insert(name(path));
            continue;
        };
        let mut depth_of_end = 0;
        let end = group.find(|character| {
            depth_of_end += depth(character);
            depth_of_end < 0
        });
        let mut depth_of_comma = 0;
        let paths = group[..end.unwrap()].split(|character| {
            depth_of_comma += depth(character);
            character == ',' && depth_of_comma == 0
        });
        names.extend(paths.map(str::trim).filter(|path| !path.is_empty()).map(name));
    }
    names
}

#[test]
fn names_are_found_alone_and_in_groups() {
    let source =
        "use crate::a::{self, B};\nuse crate::{\n  c, d::{E, f::G},\n  h,\n};\n// crate::i\nlet x = crate::j::k();";
    assert_eq!(names(source).into_iter().collect::<Vec<_>>(), ["a", "c", "d", "h", "j"]);
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut uses = uses();
    // What the build generates, and uses nothing.
    uses.insert("proto".into(), BTreeSet::new());
    for (module, used) in &uses {
        // Past the root's re-exports, which would hide a module.
        assert!(used.iter().all(|name| uses.contains_key(name)), "{module} uses {used:?}");
    }
    while let Some(leaf) = uses.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()) {
        uses.remove(&leaf);
        for used in uses.values_mut() {
            used.remove(&leaf);
        }
    }
    assert!(uses.is_empty(), "in a circle, or above one: {uses:#?}");
}
