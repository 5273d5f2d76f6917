//! Sizes as people write them.

/// Reads a size such as `8MiB`, `64M`, `1g` or `1048576`; all units are powers of 1024.
///
/// # Errors
/// If it is none, or zero; the text says how to write one.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        "t" | "tb" | "tib" => Some(1 << 40),
        "p" | "pb" | "pib" => Some(1 << 50),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a size such as 8MiB, 512KiB or 1GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("8MiB", 8 << 20), ("64M", 64 << 20), ("1g", 1 << 30), ("2TiB", 2 << 40), ("7", 7)]
        {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "0", "MiB", "1.5M", "8XB", "99999999999999G", "-1"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
