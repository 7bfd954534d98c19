//! Several charts on one sheet, as SVG and as PNG.

use crate::error::FiguresError;
use statmux_report::Chart;
use tiny_skia::{Color, Pixmap, PixmapPaint, Transform};

/// Pixels of a PNG per pixel of the SVG.
const SCALE: f64 = 2.0;

/// The charts in rows of `columns`, each in the place of the largest.
pub fn svg(charts: &[Chart], columns: usize) -> String {
    let drawn: Vec<String> = charts.iter().map(Chart::svg).collect();
    if let [only] = &drawn[..] {
        return only.clone();
    }
    let sizes = drawn.iter().map(|svg| size(svg));
    let (width, height) = sizes.fold((0.0_f64, 0.0_f64), |(w, h), (x, y)| (w.max(x), h.max(y)));
    let rows = drawn.len().div_ceil(columns.max(1));
    let (all_width, all_height) = (width * columns as f64, height * rows as f64);
    let mut sheet = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all_width}\" height=\"{all_height}\" viewBox=\"0 0 {all_width} {all_height}\">\n"
    );
    for (index, svg) in drawn.iter().enumerate() {
        let (x, y) = (width * (index % columns) as f64, height * (index / columns) as f64);
        sheet.push_str(&svg.replacen("<svg ", &format!("<svg x=\"{x}\" y=\"{y}\" "), 1));
    }
    sheet.push_str("</svg>\n");
    sheet
}

/// The same in pixels.
pub fn png(charts: &[Chart], columns: usize) -> Result<Vec<u8>, FiguresError> {
    let wide = |chart: &Chart| (size(&chart.svg()).0 * SCALE) as u32;
    if let [only] = charts {
        return Ok(only.png(wide(only))?);
    }
    let wrong = |what: String| FiguresError::Sheet(what);
    let mut drawn = Vec::with_capacity(charts.len());
    for chart in charts {
        let bytes = chart.png(wide(chart))?;
        drawn.push(Pixmap::decode_png(&bytes).map_err(|cause| wrong(cause.to_string()))?);
    }
    let width = drawn.iter().map(Pixmap::width).max().unwrap_or(1);
    let height = drawn.iter().map(Pixmap::height).max().unwrap_or(1);
    let rows = drawn.len().div_ceil(columns.max(1)) as u32;
    let sheet = Pixmap::new(width * columns as u32, height * rows);
    let mut sheet = sheet.ok_or_else(|| wrong("it would be too large".to_owned()))?;
    sheet.fill(Color::WHITE);
    for (index, pixmap) in drawn.iter().enumerate() {
        let (x, y) = (width * (index % columns) as u32, height * (index / columns) as u32);
        sheet.draw_pixmap(x as i32, y as i32, pixmap.as_ref(), &PixmapPaint::default(), Transform::identity(), None);
    }
    sheet.encode_png().map_err(|cause| wrong(cause.to_string()))
}

/// Width and height of an SVG that one of our charts drew.
fn size(svg: &str) -> (f64, f64) {
    let number = |key: &str| {
        let from = svg.find(key)? + key.len();
        let until = from + svg[from..].find('"')?;
        svg[from..until].parse().ok()
    };
    (number(" width=\"").unwrap_or(640.0), number(" height=\"").unwrap_or(400.0))
}
