//! `popwardctl top`: the server and its sessions on the terminal, until `q` is pressed.

use crate::output::{FAILED, complain};
use crate::sessions::{self, now, table};
use crate::status::Status;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{execute, queue};
use std::io::{IsTerminal as _, Write as _, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The time from one picture to the next.
const EVERY: Duration = Duration::from_secs(2);

/// The terminal in the mode that `top` needs. It is put back at the end.
struct Terminal;

impl Terminal {
    fn open() -> std::io::Result<Self> {
        terminal::enable_raw_mode()?;
        let terminal = Self;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the terminal has gone, there is nothing to put back.
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// `popwardctl top`.
pub(crate) fn main() -> ExitCode {
    if !stdout().is_terminal() {
        return complain(&"top: standard output is no terminal", FAILED);
    }
    // What cannot be seen is said before the terminal changes.
    if let Err(why) = picture() {
        return complain(&why, FAILED);
    }
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, FAILED),
    }
}

/// The text of a picture.
fn picture() -> Result<String, String> {
    let status = Status::read()?;
    let (sessions, _) = sessions::all()?;
    Ok(format!(
        "{}\n{}",
        status.text(now()),
        table(&sessions, now())
    ))
}

fn show() -> std::io::Result<()> {
    let _terminal = Terminal::open()?;
    loop {
        let text = picture().unwrap_or_else(|why| why);
        let size = match terminal::size()? {
            // A terminal that does not know its size.
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        draw(&text, size)?;
        if ends(Instant::now() + EVERY)? {
            return Ok(());
        }
    }
}

/// Draws what fits. The last line says which key ends it.
fn draw(text: &str, (width, height): (u16, u16)) -> std::io::Result<()> {
    let mut out = stdout();
    queue!(out, Clear(ClearType::All))?;
    let lines = text.lines().take(usize::from(height.saturating_sub(1)));
    for (line, row) in lines.zip(0..) {
        queue!(out, MoveTo(0, row), Print(cut(line, width)))?;
    }
    let last = height.saturating_sub(1);
    queue!(out, MoveTo(0, last), Print(cut("q: end", width)))?;
    out.flush()
}

fn cut(line: &str, width: u16) -> String {
    line.chars().take(usize::from(width)).collect()
}

/// Waits until then. Returns whether a key was pressed that ends this.
fn ends(until: Instant) -> std::io::Result<bool> {
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let interrupts = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if interrupts => return Ok(true),
                    _ => {}
                }
            }
            // Draws anew.
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}
