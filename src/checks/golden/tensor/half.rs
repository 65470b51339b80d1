//! 16-bit floating point numbers, widened exactly; narrowed to the nearest, ties to even.

/// IEEE 754 binary16.
pub(super) fn from_fp16(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2_f64.powi(-24),
        0x1f if bits & 0x3ff == 0 => sign * f64::INFINITY,
        0x1f => f64::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2_f64.powi(i32::from(exponent) - 15),
    }
}

/// The upper half of an FP32.
pub(super) fn from_bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// The nearest BF16.
pub(super) fn to_bf16(value: f64) -> u16 {
    nearest(value, from_bf16, 0x7f80)
}

/// The nearest FP16.
pub(super) fn to_fp16(value: f64) -> u16 {
    nearest(value, from_fp16, 0x7c00)
}

/// Both formats rise with their bits (below the sign), so that the nearest one is found by halving.
fn nearest(value: f64, widen: fn(u16) -> f64, infinity: u16) -> u16 {
    if value.is_nan() {
        return infinity | 1 << 6;
    }
    let sign = u16::from(value.is_sign_negative()) << 15;
    let size = value.abs();
    let (mut low, mut high) = (0, infinity);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if widen(middle) <= size { low = middle } else { high = middle - 1 }
    }
    // From half a step above the largest number on, it rounds to infinity, as IEEE 754 has it.
    let above = if low + 1 >= infinity { 2.0 * widen(infinity - 1) - widen(infinity - 2) } else { widen(low + 1) };
    let (down, up) = (size - widen(low), above - size);
    let round_up = low < infinity && (up < down || (up == down && low % 2 == 1));
    sign | if round_up { low + 1 } else { low }
}
