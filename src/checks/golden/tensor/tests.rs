//! Numbers of 16 bits, and the binary form.

use half_reference::widen;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::{
    Data, Datatype, Tensor, decode, encode,
    half::{from_bf16, from_fp16, to_bf16, to_fp16},
    outputs, split,
};
use crate::checks::golden::samples::headers;

/// FP16 to FP32 by bits, as textbooks have it: another way than the program's.
mod half_reference {
    pub(super) fn widen(bits: u16) -> f32 {
        let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, (bits >> 10) & 0x1f, u32::from(bits & 0x3ff));
        let magnitude = match (exponent, fraction) {
            (0, 0) => 0,
            (0, _) => {
                let shift = fraction.leading_zeros() - 21;
                ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)
            }
            (0x1f, _) => (0xff << 23) | (fraction << 13),
            _ => ((u32::from(exponent) + 112) << 23) | (fraction << 13),
        };
        f32::from_bits(sign | magnitude)
    }
}

/// Fails when: one of the 65,536 numbers of 16 bits is read wrongly, or does not come back.
#[test]
fn every_number_of_16_bits() {
    for bits in 0..=u16::MAX {
        let (half, brain) = (from_fp16(bits), from_bf16(bits));
        let wide = f64::from(widen(bits));
        assert!(half == wide || (half.is_nan() && wide.is_nan()), "{bits:#x}: {half} {wide}");
        assert!(half.is_nan() || to_fp16(half) == bits, "{bits:#x}: {half} {:#x}", to_fp16(half));
        assert!(brain.is_nan() || to_bf16(brain) == bits, "{bits:#x}: {brain} {:#x}", to_bf16(brain));
    }
    assert!(from_fp16(to_fp16(f64::NAN)).is_nan() && from_bf16(to_bf16(f64::NAN)).is_nan());
}

/// Fails when: a number between two of 16 bits goes to the farther one, or a tie to the odd one.
#[test]
fn narrowing_takes_the_nearest() {
    for (value, bits) in [
        (1.0 + 1.0 / 2048.0, 0x3c00),
        (1.0 + 3.0 / 2048.0, 0x3c02),
        (0.1, 0x2e66),
        (65519.9, 0x7bff),
        (65520.0, 0x7c00),
        (-1e9, 0xfc00),
        (1e-9, 0),
        (-0.0, 0x8000),
    ] {
        assert_eq!(to_fp16(value), bits, "{value}");
    }
    assert_eq!(
        (to_bf16(1.0), to_bf16(1.0 + 1.0 / 256.0), to_bf16(1e39), to_bf16(0.1)),
        (0x3f80, 0x3f80, 0x7f80, 0x3dcd)
    );
    assert!((Datatype::Fp32.round(0.1) - f64::from(0.1_f32)).abs() < f64::EPSILON);
}

/// Fails when: an element has another width, sign or order of bytes.
#[test]
fn the_binary_form() {
    for (datatype, bytes, data) in [
        (Datatype::Bool, &[0, 1][..], Data::Ints(vec![0, 1])),
        (Datatype::Int8, &[0xff, 1], Data::Ints(vec![-1, 1])),
        (Datatype::Uint8, &[0xff], Data::Ints(vec![255])),
        (Datatype::Int16, &[0xfe, 0xff], Data::Ints(vec![-2])),
        (Datatype::Uint32, &[1, 0, 0, 0x80], Data::Ints(vec![2_147_483_649])),
        (Datatype::Int64, &[0, 0, 0, 0, 0, 0, 0, 0x80], Data::Ints(vec![i64::MIN.into()])),
        (Datatype::Uint64, &[0xff; 8], Data::Ints(vec![u64::MAX.into()])),
        (Datatype::Fp16, &[0, 0x3c], Data::Floats(vec![1.0])),
        (Datatype::Bf16, &[0x80, 0x3f], Data::Floats(vec![1.0])),
        (Datatype::Fp32, &[0, 0, 0x80, 0x3f], Data::Floats(vec![1.0])),
        (Datatype::Fp64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], Data::Floats(vec![1.0])),
        (Datatype::Bytes, &[2, 0, 0, 0, b'h', b'i', 0, 0, 0, 0], Data::Bytes(vec![b"hi".to_vec(), Vec::new()])),
    ] {
        assert_eq!(decode(datatype, bytes), Ok(data.clone()), "{datatype}");
        assert_eq!(encode(datatype, &data), Ok(bytes.to_vec()), "{datatype}");
    }
    assert!(decode(Datatype::Fp32, &[1, 2, 3]).unwrap_err().contains("3 bytes are not a whole number of FP32"));
    assert!(decode(Datatype::Bytes, &[1, 0]).unwrap_err().contains("cut off"));
    assert!(decode(Datatype::Bytes, &[9, 0, 0, 0, 1]).unwrap_err().contains("says 9 bytes, 1 are left"));
    assert!(encode(Datatype::Fp32, &Data::Ints(vec![1])).is_err());
}

/// Fails when: the border between JSON and tensors, or between two tensors, moves.
#[test]
fn json_with_binary_tensors_behind_it() {
    let output = |name: &str, datatype: &str, shape: &[u64], size: u64| json!({ "name": name, "datatype": datatype, "shape": shape, "parameters": { "binary_data_size": size } });
    let read = |list: Vec<serde_json::Value>, bytes: &[u8]| outputs(&json!({ "outputs": list }), bytes);
    let mixed = vec![
        output("a", "INT16", &[2], 4),
        json!({ "name": "b", "datatype": "INT8", "shape": [1], "data": [7] }),
        output("c", "BYTES", &[1], 5),
    ];
    let tensors = read(mixed.clone(), &[1, 0, 2, 0, 1, 0, 0, 0, b'x']).unwrap();
    let data: Vec<_> = tensors.iter().map(|tensor| tensor.data.clone()).collect();
    assert_eq!(data, [Data::Ints(vec![1, 2]), Data::Ints(vec![7]), Data::Bytes(vec![b"x".to_vec()])]);
    for (list, bytes, reason) in [
        (mixed.clone(), &[1, 0][..], "binary_data_size says 4 bytes, 2 are left"),
        (mixed, &[1, 0, 2, 0, 1, 0, 0, 0, b'x', 0], "1 bytes of binary data belong to no output"),
        (vec![output("a", "INT16", &[3], 4)], &[0; 4], "which is not [3] of INT16"),
        (vec![output("a", "BYTES", &[2], 4)], &[0; 4], "asks for 2 values, there are 1"),
        (vec![output("a", "FP8", &[1], 1)], &[0], "unknown datatype"),
        (vec![json!({ "name": "a", "datatype": "INT8", "shape": [-1] })], &[], "not a list of sizes"),
        (vec![json!({ "name": "a", "datatype": "INT8", "shape": [1] })], &[], "neither `data` nor"),
        (vec![json!({})], &[], "outputs[0] has no name"),
    ] {
        let error = read(list, bytes).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let length = |text: &str| headers(&[("inference-header-content-length", text)]);
    assert_eq!(split(&length("2"), b"{}ab"), Ok((&b"{}"[..], &b"ab"[..])));
    assert_eq!(split(&HeaderMap::new(), b"{}"), Ok((&b"{}"[..], &b""[..])));
    assert!(split(&length("9"), b"{}").is_err() && split(&length("x"), b"{}").is_err());
}

/// Fails when: an element is said to be in another place.
#[test]
fn places() {
    let tensor = Tensor::new("a".into(), None, vec![2, 3], Data::Ints(vec![0; 6])).unwrap();
    assert_eq!((tensor.position(5), tensor.position(1), tensor.row_length()), ("[1,2]".into(), "[0,1]".into(), 3));
    let scalar = Tensor::new("a".into(), None, vec![], Data::Ints(vec![0])).unwrap();
    assert_eq!((scalar.position(0), scalar.row_length()), ("[]".into(), 1));
}

proptest! {
    /// Fails when: some bytes make the reader panic, or do not come back as they were.
    #[test]
    fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..64), datatype in 0_usize..14) {
        let datatype = Datatype::ALL[datatype];
        if let Ok(data) = decode(datatype, &bytes)
            && data.not_finite().is_none()
        {
            prop_assert_eq!(encode(datatype, &data), Ok(bytes));
        }
    }
}
