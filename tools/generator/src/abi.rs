//! The C ABI as the sources declare it: every exported function, `repr(C)` struct, opaque handle,
//! constant and type name, found by walking `src` with a Rust parser. It hides how those look in
//! the sources; who asks gets the mirror or the symbol list.
//!
//! The rules: a function counts when it is `#[no_mangle]`, a struct, type or constant when it is
//! `pub` and its name begins with `aio_` or `AIO_`.

use quote::ToTokens;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Names that the header writes itself (`cbindgen.toml`), for C and C++ alone.
pub const C_ONLY: [&str; 2] = ["AIO_NOEXCEPT", "AIO_CALLBACK_REAP"];

pub struct Function {
    pub signature: syn::Signature,
    /// The name of its source file, without `.rs`.
    pub section: String,
}

#[derive(Default)]
pub struct Abi {
    pub functions: Vec<Function>,
    structs: Vec<syn::ItemStruct>,
    types: Vec<syn::ItemType>,
    constants: Vec<syn::ItemConst>,
    /// What cbindgen would export though it is not part of the ABI: every other `pub const`, and
    /// the functions of other libraries that the sources declare.
    pub foreign_names: Vec<String>,
    section: String,
}

/// Reads every `.rs` file below `folder`, in the order of their names.
pub fn read(folder: &Path) -> Abi {
    let mut abi = Abi::default();
    for path in sources(folder) {
        let text = std::fs::read_to_string(&path).expect("a readable source file");
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        abi.section = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        abi.visit_file(&file);
    }
    abi
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

/// Whether an attribute list has `name`, plain or inside `unsafe(...)`.
fn has_attribute(attributes: &[syn::Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string().replace(' ', "");
        text == name || text == format!("unsafe({name})")
    })
}

impl<'ast> Visit<'ast> for Abi {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if has_attribute(&item.attrs, "no_mangle") {
            let section = self.section.clone();
            self.functions.push(Function { signature: item.sig.clone(), section });
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if is_public(&item.vis) && item.ident.to_string().starts_with("aio_") {
            self.structs.push(item.clone());
        }
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        if is_public(&item.vis) && item.ident.to_string().starts_with("aio_") {
            self.types.push(item.clone());
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if !is_public(&item.vis) {
            return;
        }
        let name = item.ident.to_string();
        if !name.starts_with("AIO_") {
            self.foreign_names.push(name);
        } else if !C_ONLY.contains(&name.as_str()) {
            self.constants.push(item.clone());
        }
    }

    fn visit_foreign_item_fn(&mut self, item: &'ast syn::ForeignItemFn) {
        self.foreign_names.push(item.sig.ident.to_string());
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.meta.to_token_stream().to_string().contains("test")
        });
        if !is_test {
            visit::visit_item_mod(self, item);
        }
    }
}

/// A type as the mirror writes it: without paths, and function pointers with the plain C ABI,
/// because the parser of the conformance test knows the syntax of 2015 only.
fn mirror_type(ty: &syn::Type) -> String {
    let mut ty = ty.clone();
    plain(&mut ty);
    let text = ty.to_token_stream().to_string();
    let text = text.replace("\"C-unwind\"", "\"C\"").replace("unsafe extern", "extern");
    [(" :: ", "::"), ("* mut ", "*mut "), ("* const ", "*const "), (" <", "<"), ("< ", "<")]
        .iter()
        .chain(&[(" >", ">"), ("( ", "("), (" )", ")"), (" ,", ","), (" :", ":"), (" ;", ";")])
        .chain(&[("fn (", "fn("), ("[ ", "["), (" ]", "]")])
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// Takes the module names off every path in a type.
fn plain(ty: &mut syn::Type) {
    match ty {
        syn::Type::Path(path) => {
            let mut last = path.path.segments.last().expect("a path has a last part").clone();
            if let syn::PathArguments::AngleBracketed(arguments) = &mut last.arguments {
                for argument in &mut arguments.args {
                    if let syn::GenericArgument::Type(inner) = argument {
                        plain(inner);
                    }
                }
            }
            path.path = last.into();
        }
        syn::Type::Ptr(pointer) => plain(&mut pointer.elem),
        syn::Type::Array(array) => plain(&mut array.elem),
        syn::Type::BareFn(function) => {
            for input in &mut function.inputs {
                plain(&mut input.ty);
            }
            if let syn::ReturnType::Type(_, output) = &mut function.output {
                plain(output);
            }
        }
        _ => {}
    }
}

impl Abi {
    fn is_c_struct(item: &syn::ItemStruct) -> bool {
        has_attribute(&item.attrs, "repr(C)")
    }

    /// A type as `mirror_type` writes it, with the types of callbacks written out: a C compiler
    /// compares what is in them only where they are arguments or fields.
    fn written_out(&self, ty: &syn::Type) -> String {
        let text = mirror_type(ty);
        let alias = self.types.iter().find(|item| item.ident == text);
        match alias.map(|item| mirror_type(&item.ty)) {
            Some(callback) if callback.contains(" fn(") => callback,
            _ => text,
        }
    }

    fn mirror_function(&self, function: &syn::Signature) -> String {
        let mut arguments = Vec::new();
        // Names of arguments may be keywords, and C does not compare them: they are numbered.
        for (number, input) in function.inputs.iter().enumerate() {
            let syn::FnArg::Typed(input) = input else { panic!("{}: a method", function.ident) };
            arguments.push(format!("a{number}: {}", self.written_out(&input.ty)));
        }
        let output = match &function.output {
            syn::ReturnType::Default => String::new(),
            syn::ReturnType::Type(_, ty) => format!(" -> {}", mirror_type(ty)),
        };
        format!("    pub fn {}({}){output};\n", function.ident, arguments.join(", "))
    }

    fn mirror_struct(&self, item: &syn::ItemStruct) -> String {
        if !Self::is_c_struct(item) {
            return format!("pub enum {} {{}}\n", item.ident);
        }
        let mut text = format!("#[repr(C)]\npub struct {} {{\n", item.ident);
        for field in &item.fields {
            let name = field.ident.as_ref().expect("a struct of the ABI has named fields");
            text += &format!("    pub {name}: {},\n", self.written_out(&field.ty));
        }
        text + "}\n"
    }

    /// The declarations for `tests/conformance`.
    pub fn mirror(&self) -> String {
        let mut text = String::from(
            "// Generated by tools/regen from src: the C ABI as Rust declares it, for the parser\n\
             // of the conformance test, which compares each item with include/aio_rs.h. Not\n\
             // compiled itself.\n\n",
        );
        for item in &self.types {
            text += &format!("pub type {} = {};\n", item.ident, mirror_type(&item.ty));
        }
        for item in &self.constants {
            let value = item.expr.to_token_stream();
            text += &format!("pub const {}: {} = {value};\n", item.ident, mirror_type(&item.ty));
        }
        for item in &self.structs {
            text += &self.mirror_struct(item);
        }
        text += "extern \"C\" {\n";
        for function in &self.functions {
            text += &self.mirror_function(&function.signature);
        }
        text + "}\n"
    }

    /// The names that leave the library, one a line, sorted.
    pub fn symbols(&self) -> String {
        self.function_names().iter().map(|name| format!("{name}\n")).collect()
    }

    pub fn function_names(&self) -> BTreeSet<String> {
        self.functions.iter().map(|function| function.signature.ident.to_string()).collect()
    }

    pub fn constant_type(&self, name: &str) -> Option<String> {
        let item = self.constants.iter().find(|item| item.ident == name)?;
        Some(mirror_type(&item.ty))
    }

    pub fn constant_names(&self) -> BTreeSet<String> {
        self.constants.iter().map(|item| item.ident.to_string()).collect()
    }

    pub fn type_names(&self) -> BTreeSet<String> {
        let structs = self.structs.iter().map(|item| item.ident.to_string());
        structs.chain(self.types.iter().map(|item| item.ident.to_string())).collect()
    }
}
