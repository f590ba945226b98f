//! The plot of a comparison: a panel of bars for each kind of measurement, in one SVG file.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0x4f);
const PEER: RGBColor = RGBColor(0x9a, 0xa3, 0xad);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xe9);
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2a);
const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (960, 640);

/// Bars that can be compared; the first is ours.
pub struct Panel {
    pub title: String,
    pub axis: &'static str,
    pub scale: Scale,
    pub bars: Vec<(String, f64)>,
}

/// Whether lengths or orders of magnitude are compared.
pub enum Scale {
    Linear,
    Logarithmic,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub fn draw(path: &Path, title: &str, panels: &[Panel]) {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let area = area
        .titled(title, (FONT, 22).into_font().color(&INK))
        .unwrap();
    for (panel, place) in panels.iter().zip(area.split_evenly((panels.len(), 1))) {
        let most = panel.bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
        let least = panel.bars.iter().map(|bar| bar.1).fold(most, f64::min);
        // There is room for a figure behind the longest bar.
        match panel.scale {
            Scale::Linear => bars(&place, panel, 0.0, 0.0..most * 1.15),
            Scale::Logarithmic => {
                let from = 10_f64.powf(least.log10().floor() - 1.0);
                bars(&place, panel, from, (from..most * 4.0).log_scale());
            }
        }
    }
    area.present().unwrap();
}

fn bars<X>(place: &Area<'_>, panel: &Panel, from: f64, axis: X)
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    // The first bar is on top.
    let row = |number: usize| panel.bars.len() - 1 - number;
    let rows = (0..panel.bars.len() - 1).into_segmented();
    let mut chart = ChartBuilder::on(place)
        .caption(&panel.title, (FONT, 17).into_font().color(&INK))
        .margin(12)
        .margin_right(30)
        .x_label_area_size(44)
        .y_label_area_size(190)
        .build_cartesian_2d(axis, rows)
        .unwrap();
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(number) => panel.bars[row(*number)].0.clone(),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .x_labels(7)
        .y_labels(panel.bars.len())
        .x_label_formatter(&|value| grouped(*value))
        .y_label_formatter(&name)
        .label_style((FONT, 14).into_font().color(&INK))
        .x_desc(panel.axis)
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .draw()
        .unwrap();
    for (label, color) in [("Cedarkeep", OURS), ("peer", PEER)] {
        let ours = color == OURS;
        let mine = (0..panel.bars.len()).filter(|number| (*number == 0) == ours);
        let bar = |number: usize| {
            let ends = [row(number), row(number) + 1].map(SegmentValue::Exact);
            let [low, high] = ends;
            let corners = [(from, low), (panel.bars[number].1, high)];
            let mut bar = Rectangle::new(corners, color.filled());
            bar.set_margin(7, 7, 0, 0);
            bar
        };
        chart
            .draw_series(mine.map(bar))
            .unwrap()
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 14, y + 6)], color.filled()));
    }
    let style = (FONT, 14).into_font().color(&INK);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    let figures = panel.bars.iter().enumerate().map(|(number, (_, value))| {
        let at = (*value, SegmentValue::CenterOf(row(number)));
        EmptyElement::at(at) + Text::new(grouped(*value), (6, 0), style.clone())
    });
    chart.draw_series(figures).unwrap();
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font((FONT, 14).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()
        .unwrap();
}

/// A number as people read it: `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
