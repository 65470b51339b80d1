//! The binary form of a tensor: little-endian elements in row-major order; each of BYTES behind its length in 4 bytes.

use super::{
    Data, Datatype,
    half::{from_bf16, from_fp16, to_bf16, to_fp16},
};

/// Reads all elements.
pub(in crate::checks::golden) fn decode(datatype: Datatype, bytes: &[u8]) -> Result<Data, String> {
    let Some(width) = datatype.width() else { return Ok(Data::Bytes(strings(bytes)?)) };
    if !bytes.len().is_multiple_of(width) {
        return Err(format!("{} bytes are not a whole number of {datatype}", bytes.len()));
    }
    let chunks = bytes.chunks_exact(width);
    if datatype.is_float() {
        return Ok(Data::Floats(chunks.map(|chunk| float(datatype, chunk)).collect()));
    }
    let is_signed = datatype.range().is_some_and(|(low, _)| low < 0);
    Ok(Data::Ints(chunks.map(|chunk| int(chunk, is_signed)).collect()))
}

/// Writes all elements; those that do not fit the datatype are an error.
pub(in crate::checks::golden) fn encode(datatype: Datatype, data: &Data) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match (data, datatype.width()) {
        (Data::Bytes(values), None) => {
            for value in values {
                let length =
                    u32::try_from(value.len()).map_err(|_invalid| "a string is longer than 4 GiB".to_owned())?;
                bytes.extend(length.to_le_bytes());
                bytes.extend(value);
            }
        }
        (Data::Ints(values), Some(width)) if !datatype.is_float() => {
            values.iter().for_each(|value| bytes.extend(&value.to_le_bytes()[..width]));
        }
        (Data::Floats(values), Some(_)) if datatype.is_float() => {
            values.iter().for_each(|value| put_float(datatype, *value, &mut bytes));
        }
        _ => return Err(format!("the values are not {datatype}")),
    }
    Ok(bytes)
}

#[expect(clippy::cast_possible_truncation, reason = "the datatype asks for the narrower number")]
fn put_float(datatype: Datatype, value: f64, bytes: &mut Vec<u8>) {
    match datatype {
        Datatype::Fp16 => bytes.extend(to_fp16(value).to_le_bytes()),
        Datatype::Bf16 => bytes.extend(to_bf16(value).to_le_bytes()),
        Datatype::Fp32 => bytes.extend((value as f32).to_le_bytes()),
        _ => bytes.extend(value.to_le_bytes()),
    }
}

fn float(datatype: Datatype, chunk: &[u8]) -> f64 {
    match (datatype, chunk) {
        (Datatype::Fp16, &[a, b]) => from_fp16(u16::from_le_bytes([a, b])),
        (Datatype::Bf16, &[a, b]) => from_bf16(u16::from_le_bytes([a, b])),
        (_, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        _ => f64::from_le_bytes(chunk.try_into().unwrap_or_default()),
    }
}

/// From 1 to 8 bytes; the last byte's first bit is the sign, where there is one.
fn int(chunk: &[u8], is_signed: bool) -> i128 {
    let is_negative = is_signed && chunk.last().is_some_and(|last| last >> 7 == 1);
    let mut wide = [if is_negative { 0xff } else { 0 }; 16];
    wide[..chunk.len()].copy_from_slice(chunk);
    i128::from_le_bytes(wide)
}

fn strings(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or("a length of BYTES is cut off")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| format!("a string of BYTES says {length} bytes, {} are left", rest.len()))?;
        values.push(value.to_vec());
        bytes = rest;
    }
    Ok(values)
}
