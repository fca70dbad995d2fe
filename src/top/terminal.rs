//! The terminal: set up while a [`Screen`] lives, and restored however that ends.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::{Frame, Terminal};

/// Reports of buttons and the wheel, as numbers (xterm's modes 1000 and 1006). crossterm's own command also asks for
/// every movement of the pointer, each of which would wake this program.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Whether the terminal has to be restored. A panic can happen anywhere, so this is global.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, set up: on its alternate screen, with raw keys and no echo.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// The current content, if known.
    shown: Option<Buffer>,
}

impl Screen {
    /// Sets it up. From here on a panic restores it before the message is printed.
    ///
    /// # Errors
    ///
    /// If standard input or output is no terminal, or it cannot be set up.
    pub fn take() -> io::Result<Self> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Err(io::Error::other("standard input and output have to be a terminal"));
        }
        give_back_on_panic();
        Self::enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| give_back())?;
        Ok(Self { terminal, shown: None })
    }

    fn enter() -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide, Print(MOUSE_ON)))
            .inspect_err(|_| give_back())
    }

    /// Draws the screen. Only differences to the current content are written.
    pub(super) fn show(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        // After a panic in another thread, the terminal is restored already.
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of it has failed, see above"));
        }
        self.terminal.autoresize()?;
        draw(&mut self.terminal.get_frame());
        let drawn = self.terminal.current_buffer_mut();
        if self.shown.as_ref() == Some(drawn) {
            drawn.reset();
            return Ok(());
        }
        self.shown = Some(drawn.clone());
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.terminal.flush()?;
        self.terminal.swap_buffers();
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Sets it up again after it was restored, and forgets its content.
    pub(super) fn come_back(&mut self) -> io::Result<()> {
        Self::enter()?;
        self.shown = None;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Restores the terminal if it is set up. Nothing can be done if that fails.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), Print(MOUSE_OFF), Show, LeaveAlternateScreen);
        let _ = io::stdout().flush();
        let _ = disable_raw_mode();
    }
}

fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            give_back();
            tell(what);
        }));
    });
}
