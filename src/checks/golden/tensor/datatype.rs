//! The datatypes of the Open Inference Protocol.

use std::{fmt, str::FromStr};

use super::half;

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checks::golden) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    pub(in crate::checks::golden) const ALL: [Datatype; 14] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Bf16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    pub(in crate::checks::golden) fn as_str(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Bf16 => "BF16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bytes => "BYTES",
        }
    }

    /// Bytes of one element in the binary form; `None` for BYTES, whose elements say it themselves.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }

    pub(in crate::checks::golden) fn is_float(self) -> bool {
        matches!(self, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
    }

    /// The smallest and the largest whole number; `None` for other types.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        let unsigned = |bits: u32| Some((0, (1_i128 << bits) - 1));
        let signed = |bits: u32| Some((-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1));
        match self {
            Datatype::Bool => unsigned(1),
            Datatype::Uint8 => unsigned(8),
            Datatype::Uint16 => unsigned(16),
            Datatype::Uint32 => unsigned(32),
            Datatype::Uint64 => unsigned(64),
            Datatype::Int8 => signed(8),
            Datatype::Int16 => signed(16),
            Datatype::Int32 => signed(32),
            Datatype::Int64 => signed(64),
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 | Datatype::Bytes => None,
        }
    }

    /// The nearest number that this type can hold: a person writes 0.1, a server answers 0.10000000149 as FP32.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the narrower type is what this is for")]
    pub(in crate::checks::golden) fn round(self, value: f64) -> f64 {
        match self {
            Datatype::Fp16 => half::from_fp16(half::to_fp16(value)),
            Datatype::Bf16 => half::from_bf16(half::to_bf16(value)),
            Datatype::Fp32 => f64::from(value as f32),
            _ => value,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Datatype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|datatype| datatype.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown datatype {:?}; there are {all}", text.chars().take(40).collect::<String>())
        })
    }
}
