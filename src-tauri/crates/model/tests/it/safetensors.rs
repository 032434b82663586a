//! safetensors headers, one fault at a time, and the sentence that a user reads.

use std::path::Path;

use dualgpuopt_model::{HfProbe, ModelError, Opened, open};
use proptest::prelude::*;

use crate::crafted::{entry, file, header, rows};
use crate::written::save;

pub(crate) fn hf(path: &Path) -> Result<HfProbe, ModelError> {
    match open(path)? {
        Opened::Hf(probe) => Ok(HfProbe::clone(&probe)),
        Opened::Gguf(probe) => panic!("{} was read as GGUF", probe.path.display()),
    }
}

/// What is said of a file of these bytes, `weights` bytes of hole behind them.
fn said(bytes: &[u8], weights: u64) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.safetensors");
    file(&path, bytes, weights);
    match hf(&path) {
        Ok(probe) => format!("sound: {}", probe.model.problems.join(" ")),
        Err(error) => {
            assert!(!error.hint().is_empty() && error.path() == path, "{error}");
            error.to_string()
        }
    }
}

/// What is said of a header of these entries.
fn entries(json: &[String], weights: u64) -> String {
    said(&header(&format!("{{{}}}", json.join(","))), weights)
}

#[track_caller]
fn says(found: &str, wanted: &str) {
    assert!(found.contains(wanted), "{wanted:?} is not in {found:?}");
}

#[test]
fn a_sound_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.safetensors");
    let (bytes, weights) = rows(&["b", "a"], 3);
    file(&path, &bytes, weights);
    let model = hf(&path).expect("the file is sound").model;
    let tensors: Vec<_> = model.tensors.iter().map(|t| (t.name.as_str(), t.dtype.name(), &*t.shape, t.bytes)).collect();
    assert_eq!(tensors, [("a", "BF16", [1, 3].as_slice(), 6), ("b", "BF16", &[1, 3], 6)]);
    assert_eq!((model.parameters, model.weights().0, model.shards), (6, 12, 1));
    assert_eq!(model.file_bytes.0, bytes.len() as u64 + 12);
}

#[test]
fn order_in_the_header_is_free_and_padding_is_passed_over() {
    let two = [entry("late", "F32", &[2], 4, 12), entry("early", "U8", &[4], 0, 4)].join(",");
    says(&said(&header(&format!("{{{two}}}      ")), 12), "sound: config");
}

#[test]
fn empty_tensors_and_single_values_are_sound() {
    let found = entries(&[entry("none", "F32", &[0, 8], 0, 0), entry("one", "F32", &[], 0, 4)], 4);
    says(&found, "sound: ");
}

#[test]
fn lengths_beyond_the_limit_are_refused() {
    says(&said(&(1u64 << 63).to_le_bytes(), 8), "the header is said to be 9223372036854775808 bytes long");
    says(&said(&1_000_000_000u64.to_le_bytes(), 2_000_000_000), "but 100000000 are the most");
}

#[test]
fn a_text_saved_instead_of_the_weights_is_recognised() {
    says(&said(b"version https://git-lfs.github.com/spec/v1\noid sha256:", 0), "it begins with 'version.'");
    says(&said(b"<!DOCTYPE html><html>", 0), "it begins with '<!DOCTYP'");
    says(&said(b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\x01", 0), "it begins with 'GGUF....'");
}

#[test]
fn an_empty_file_and_one_that_ends_in_its_header_are_incomplete() {
    says(&said(b"", 0), "the file is incomplete: its header needs 8 bytes, but the file has 0");
    says(&said(&100u64.to_le_bytes(), 20), "its header needs 108 bytes, but the file has 28");
}

#[test]
fn what_is_no_json_is_refused() {
    says(&said(&header("{\"a\":"), 0), "the header is not as it must be: EOF");
    says(&said(&header("[1,2]"), 0), "expected an object of tensors by name");
    says(&said(&header("{} x"), 0), "trailing characters");
    says(&said(&header("\u{0}\u{0}"), 0), "the header is not as it must be");
    says(&said(&header(""), 0), "the header is not as it must be");
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{{\"__metadata__\":{}", "[".repeat(100_000));
    says(&said(&header(&deep), 0), "nested more than 64 levels deep");
    let deep = format!("{{\"a\":{{\"x\":{}", "{\"x\":".repeat(100_000));
    says(&said(&header(&deep), 0), "nested more than 64 levels deep");
}

#[test]
fn entries_must_have_all_their_parts_of_the_right_kind() {
    says(&entries(&["\"a\":{\"dtype\":\"F32\",\"shape\":[1]}".into()], 4), "missing field `data_offsets`");
    says(&entries(&["\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}".into()], 4), "expected a text");
    says(&entries(&["\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}".into()], 4), "integer `-1`");
    says(
        &entries(&["\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}".into()], 4),
        "floating point `1.5`",
    );
    says(
        &entries(&["\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}".into()], 4),
        "the header is not as it must be",
    );
    says(&entries(&["\"a\":{\"dtype\":\"\",\"shape\":[1],\"data_offsets\":[0,4]}".into()], 4), "no name of one");
    says(&entries(&["\"a\":null".into()], 4), "invalid type: null");
    let long = entry("a", &"F".repeat(33), &[1], 0, 4);
    says(&entries(&[long], 4), "no name of one");
}

#[test]
fn too_many_dimensions_are_refused() {
    says(&entries(&[entry("a", "F32", &[1; 9], 0, 4)], 4), "invalid length 9, expected at most 8 whole numbers");
}

#[test]
fn products_that_leave_63_bits_are_refused() {
    says(
        &entries(&[entry("a", "F32", &[1 << 42, 1 << 42], 0, 4)], 4),
        "impossibly large: 4398046511104 × 4398046511104",
    );
    says(&entries(&[entry("a", "F32", &[u64::MAX], 0, 4)], 4), "impossibly large");
}

#[test]
fn offsets_must_leave_what_the_shape_needs() {
    says(&entries(&[entry("a", "F32", &[4], 0, 12)], 12), "'a' (F32, 4) needs 16 bytes, but its offsets leave 12");
    says(&entries(&[entry("a", "F4", &[6], 0, 4)], 4), "needs 3 bytes, but its offsets leave 4");
    says(&entries(&[entry("a", "F4", &[6], 0, 3)], 3), "sound: ");
}

#[test]
fn offsets_must_follow_one_another() {
    says(&entries(&[entry("a", "U8", &[4], 4, 8)], 8), "'a' begins at offset 4, but the one before it ends at 0");
    let hole = [entry("a", "U8", &[4], 0, 4), entry("b", "U8", &[4], 5, 9)];
    says(&entries(&hole, 9), "'b' begins at offset 5, but the one before it ends at 4");
    let overlap = [entry("a", "U8", &[4], 0, 4), entry("b", "U8", &[4], 3, 7)];
    says(&entries(&overlap, 7), "'b' begins at offset 3, but the one before it ends at 4");
    says(&entries(&[entry("a", "U8", &[4], 8, 4)], 8), "'a' is said to lie from offset 8 to 4");
    says(&entries(&[entry("a", "U8", &[4], u64::MAX - 4, u64::MAX)], 8), "'a' is said to lie from offset");
}

#[test]
fn the_file_ends_where_its_last_tensor_ends() {
    let two = [entry("a", "U8", &[4], 0, 4), entry("b", "U8", &[4], 4, 8)];
    let json = format!("{{{}}}", two.join(","));
    let cut = said(&header(&json), 6);
    says(&cut, "the file is incomplete");
    says(&cut, &format!("the first weight cut off is 'b' at byte {}", 8 + json.len() + 4));
    says(&entries(&two, 11), "the file has 3 bytes after its last tensor");
}

#[test]
fn names_occur_once() {
    let twice = [entry("a", "U8", &[4], 0, 4), entry("a", "U8", &[4], 4, 8)];
    says(&entries(&twice, 8), "the tensor 'a' occurs twice");
    let metadata = ["\"__metadata__\":{}".to_owned(), "\"__metadata__\":{}".to_owned()];
    says(&entries(&metadata, 0), "the tensor '__metadata__' occurs twice");
}

#[test]
fn unknown_types_are_sized_by_their_place_and_doubted() {
    let found = entries(&[entry("a", "Q7_X", &[3], 0, 5), entry("b", "U8", &[4], 5, 9)], 9);
    says(&found, "The tensor type 'Q7_X' is not known");
}

#[test]
fn every_type_of_the_format_is_read() {
    for (dtype, bytes) in [
        ("BOOL", 8),
        ("F4", 4),
        ("F6_E2M3", 6),
        ("F6_E3M2", 6),
        ("U8", 8),
        ("I8", 8),
        ("F8_E5M2", 8),
        ("F8_E4M3", 8),
        ("F8_E8M0", 8),
        ("I16", 16),
        ("U16", 16),
        ("F16", 16),
        ("BF16", 16),
        ("I32", 32),
        ("U32", 32),
        ("F32", 32),
        ("C64", 64),
        ("F64", 64),
        ("I64", 64),
        ("U64", 64),
    ] {
        let found = entries(&[entry("a", dtype, &[8], 0, bytes)], bytes);
        assert!(found.starts_with("sound: ") && !found.contains("not known"), "{dtype}: {found}");
    }
}

#[test]
fn texts_without_end_are_refused() {
    let long = format!("{{\"{}\":", "n".repeat(5 << 20));
    says(&said(&header(&long), 0), "a text of more than 4194304 bytes");
}

#[test]
fn control_characters_in_names_reach_no_screen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.safetensors");
    file(&path, &header(&format!("{{{}}}", entry("a\\u001b[31m", "U8", &[1], 0, 1))), 1);
    assert_eq!(hf(&path).expect("sound").model.tensors[0].name, "a\u{fffd}[31m");
}

#[test]
fn a_file_cut_at_any_byte_is_incomplete_and_never_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.safetensors");
    let (bytes, weights) = rows(&["model.embed_tokens.weight", "lm_head.weight"], 8);
    let whole = bytes.len() as u64 + weights;
    for len in 0..whole {
        save(&path, &bytes[..bytes.len().min(usize::try_from(len).expect("small"))], len);
        match hf(&path) {
            Err(ModelError::TensorFile { fault, .. }) => assert!(fault.is_incomplete(), "{len}: {fault}"),
            other => panic!("{len} of {whole} bytes: {other:?}"),
        }
    }
    save(&path, &bytes, whole);
    assert!(hf(&path).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the bytes, the reader answers, and a file it calls sound is exactly as long as its tensors.
    #[test]
    fn mutated_bytes_are_read_or_refused(
        changes in proptest::collection::vec((8usize..260, any::<u8>()), 1..6),
        length in proptest::option::of(0u64..400),
        weights in 0u64..64,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.safetensors");
        let (mut bytes, _) = rows(&["a.weight", "b.weight", "c.weight"], 4);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if let Some(length) = length {
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        file(&path, &bytes, weights);
        if let Ok(probe) = hf(&path) {
            let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight"));
            prop_assert_eq!(probe.model.weights().0 + header + 8, bytes.len() as u64 + weights);
        }
    }
}
