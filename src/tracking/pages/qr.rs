use std::fmt::Write as _;

use minijinja::{Value, context};
use qrcode::{Color, QrCode};

/// Clear modules around the code; the standard wants four, readers get by with two.
const MARGIN: usize = 2;

/// The code of a link as an SVG path; none of what is too long for one.
pub(super) fn code(link: &str) -> Option<Value> {
    let code = QrCode::new(link).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|left, right| left == right) {
            if run[0] == Color::Dark {
                let (left, top, length) = (x + MARGIN, y + MARGIN, run.len());
                // memory takes everything
                let _ = write!(path, "M{left} {top}h{length}v1h-{length}z");
            }
            x += run.len();
        }
    }
    Some(context! { size => width + 2 * MARGIN, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_square_with_a_finder() {
        let code = code("http://127.0.0.1:5000/track/00112233445566778899aabbccddeeff").unwrap();
        let size = code.get_attr("size").unwrap().as_usize().unwrap();
        assert!((33..=41).contains(&size), "{size}");
        let path = code.get_attr("path").unwrap().to_string();
        assert!(path.starts_with("M2 2h7v1h-7z") && path.contains(&format!("M{} 2h7v1h-7z", size - 9)), "{path}");
        assert!(super::code(&"x".repeat(10_000)).is_none());
    }
}
