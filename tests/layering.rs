//! Keeps the shape of the sources: layers import to their left only, system calls stay in `sys`,
//! `unsafe` and atomics in the files whose secret they are, files and lines within their limits.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with what it may import.
const LAYERS: [(&str, &[&str]); 5] = [
    ("sys", &["sys"]),
    ("op", &["op", "sys"]),
    ("engine", &["engine", "op", "sys"]),
    ("service", &["service", "engine", "op", "sys"]),
    ("ffi", &["ffi", "service", "engine", "op", "sys"]),
];

/// Engine files that may say `unsafe`: what they hide is a pointer; and models of such, for tests.
const UNSAFE_ENGINE_FILES: [&str; 13] = [
    "counts.rs",
    "reference.rs",
    "trace.rs",
    "slots.rs",
    "mailbox.rs",
    "handle.rs",
    "run.rs",
    "dump.rs",
    "buffer_pool.rs",
    "leases.rs",
    "bell.rs",
    "record_queue.rs",
    "models.rs",
];
/// Files that may name an atomic type.
const ATOMIC_FILES: [&str; 16] = [
    "atomic.rs",
    "queues.rs",
    "own.rs",
    "buffer_ring.rs",
    "interface_queue.rs",
    "thread.rs",
    "spare.rs",
    "known.rs",
    "calls.rs",
    "mailbox.rs",
    "handle.rs",
    "leases.rs",
    "lease_table.rs",
    "sigaction.rs",
    "bell.rs",
    "record_queue.rs",
];
const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

struct Source {
    layer: String,
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The lines of code, numbered, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate();
        numbered.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("an entry of src").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).expect("inside src");
                let layer = inside.components().next().expect("a first component");
                let layer = layer.as_os_str().to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).expect("a source can be read");
                found.push(Source { layer, path, text });
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn check(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn a_layer_imports_to_its_left_only() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == source.layer) else {
            assert_eq!(source.layer, "lib.rs", "a file outside of the layers");
            continue;
        };
        for (number, line) in source.code() {
            for (position, _) in line.match_indices("crate::") {
                let rest = &line[position + "crate::".len()..];
                let target: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !target.is_empty() && !allowed.contains(&target.as_str()) {
                    broken.push(format!("{} imports {target}", source.at(number)));
                }
            }
        }
    }
    check("a layer imports to its left only", broken);
}

#[test]
fn only_sys_speaks_to_the_c_library() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.layer != "sys") {
        for (number, line) in source.code() {
            if line.contains("libc::") || line.contains("linux_raw_sys::") {
                broken.push(source.at(number));
            }
        }
    }
    check("libc:: outside of sys", broken);
}

#[test]
fn unsafe_code_stays_where_pointers_are_hidden() {
    let mut broken = Vec::new();
    for source in sources() {
        let allowed = match source.layer.as_str() {
            "sys" | "ffi" => true,
            "engine" => UNSAFE_ENGINE_FILES.contains(&source.name()),
            _ => false,
        };
        for (number, line) in source.code() {
            // A function-pointer type is not unsafe code.
            let line = line.replace("unsafe extern \"C-unwind\" fn", "");
            if !allowed && line.contains("unsafe") {
                broken.push(source.at(number));
            }
        }
    }
    check("unsafe in a file that hides no pointer", broken);
}

#[test]
fn atomics_live_in_few_files() {
    let mut broken = Vec::new();
    for source in sources() {
        let allowed = ATOMIC_FILES.contains(&source.name())
            || ["stats.rs", "uring.rs"].contains(&source.name());
        for (number, line) in source.code() {
            if !allowed && line.contains("Atomic") {
                broken.push(source.at(number));
            }
        }
    }
    check("an atomic type", broken);
}

#[test]
fn files_and_lines_keep_their_limits() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{} has {lines} lines", source.path.display()));
        }
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                broken.push(source.at(number + 1));
            }
        }
        if !source.text.starts_with("//!") {
            broken.push(format!("{} does not say what it hides", source.path.display()));
        }
    }
    check("limits", broken);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!", "unimplemented!", "FIXME", "XXX", "TODO"];
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                broken.push(source.at(number + 1));
            }
        }
    }
    check("an unfinished mark", broken);
}
