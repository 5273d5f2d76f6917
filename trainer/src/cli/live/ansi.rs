//! Draws cells by the escape sequences that all of today's terminals know (ECMA-48, and xterm's 256
//! colours).

use std::convert::Infallible;
use std::fmt::Write as _;

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::{Cell, CellWidth};
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};

/// Collects what is to be sent to a terminal: drawing never waits for one that is slow.
#[derive(Debug)]
pub(super) struct Ansi {
    size: Size,
    colors: bool,
    pending: String,
}

impl Ansi {
    /// A terminal of this size.
    pub(super) fn new(size: Size, colors: bool) -> Self {
        Self { size, colors, pending: String::new() }
    }

    /// Takes note of the terminal's size.
    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// What is to be sent.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.pending)
    }

    fn push(&mut self, sequence: std::fmt::Arguments<'_>) {
        // Writing to a string doesn't fail.
        let _ = self.pending.write_fmt(sequence);
    }

    fn style(&mut self, foreground: Color, modifier: Modifier) {
        self.pending.push_str("\x1b[0");
        let bold = modifier.contains(Modifier::BOLD);
        let codes = [
            (bold, "1"),
            (modifier.contains(Modifier::DIM), "2"),
            (modifier.contains(Modifier::REVERSED), "7"),
        ];
        for (_, code) in codes.iter().filter(|(wanted, _)| *wanted) {
            self.push(format_args!(";{code}"));
        }
        if self.colors {
            match foreground {
                Color::Reset => (),
                Color::Indexed(number) => self.push(format_args!(";38;5;{number}")),
                Color::Rgb(red, green, blue) => {
                    self.push(format_args!(";38;2;{red};{green};{blue}"));
                }
                named => self.push(format_args!(";{}", code(named))),
            }
        }
        self.pending.push('m');
    }
}

/// The code of a foreground colour with a name.
fn code(color: Color) -> u8 {
    match color {
        Color::Black => 30,
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::Gray => 37,
        Color::DarkGray => 90,
        Color::LightRed => 91,
        Color::LightGreen => 92,
        Color::LightYellow => 93,
        Color::LightBlue => 94,
        Color::LightMagenta => 95,
        Color::LightCyan => 96,
        Color::White => 97,
        Color::Reset | Color::Indexed(_) | Color::Rgb(..) => 39,
    }
}

impl Backend for Ansi {
    type Error = Infallible;

    fn draw<'a, I>(&mut self, content: I) -> Result<(), Infallible>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut style = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.push(format_args!("\x1b[{};{}H", y + 1, x + 1));
            }
            if style != Some((cell.fg, cell.modifier)) {
                self.style(cell.fg, cell.modifier);
                style = Some((cell.fg, cell.modifier));
            }
            self.pending.push_str(cell.symbol());
            // Terminals differ in how wide they make wide letters: what follows is placed anew.
            next = (cell.symbol().cell_width() == 1).then_some((x + 1, y));
        }
        self.pending.push_str("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.pending.push_str("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.pending.push_str("\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        let Position { x, y } = position.into();
        self.push(format_args!("\x1b[{};{}H", y + 1, x + 1));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> Result<(), Infallible> {
        self.pending.push_str(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[0J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> Result<Size, Infallible> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }

    /// Sending is the caller's: see [`Self::take`].
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui_core::style::{Style, Stylize};
    use ratatui_core::terminal::Terminal;
    use ratatui_core::text::Line;

    fn drawn(colors: bool) -> String {
        let mut terminal = Terminal::new(Ansi::new(Size::new(12, 2), colors)).unwrap();
        let words = Line::from(vec!["ab".red().bold(), "c".into()]).style(Style::new());
        terminal.draw(|frame| frame.render_widget(words, frame.area())).unwrap();
        terminal.backend_mut().take()
    }

    #[test]
    fn words_are_placed_and_coloured() {
        let sent = drawn(true);
        assert!(sent.contains("\x1b[1;1H\x1b[0;1;31mab\x1b[0mc"), "{sent:?}");
        let plain = drawn(false);
        assert!(plain.contains("\x1b[0;1mab\x1b[0mc"), "{plain:?}");
    }

    #[test]
    fn what_follows_a_wide_letter_is_placed_anew() {
        let mut terminal = Terminal::new(Ansi::new(Size::new(6, 1), true)).unwrap();
        terminal.draw(|frame| frame.render_widget(Line::from("日a"), frame.area())).unwrap();
        let sent = terminal.backend_mut().take();
        assert!(sent.contains("日\x1b[1;3Ha"), "{sent:?}");
        assert_eq!(terminal.backend_mut().take(), "");
    }
}
