//! The terminal, while the view has it: another screen, keys without Enter, no echo; and as it was
//! before once the view is gone, however that comes about.

use std::io::{self, IsTerminal, Write, stderr, stdin};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// Another screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// Plain text, the cursor, and the screen from before.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// A key that does nothing.
const DISABLED: u8 = 0;

/// The terminal as it was, while a view has it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal, which is given back when this is dropped.
pub(super) struct Screen(());

impl Screen {
    /// Whether there is a terminal to draw on, and to read keys from.
    pub(super) fn is_there() -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Takes the terminal. Ctrl-C still sends SIGINT; Ctrl-Z and Ctrl-\, which would leave the
    /// terminal as it is now, do nothing.
    pub(super) fn take() -> io::Result<Self> {
        static ON_PANIC: Once = Once::new();
        let before = tcgetattr(stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        modes.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
        ON_PANIC.call_once(|| {
            let tell = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                tell(panic);
            }));
        });
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let screen = Self(());
        tcsetattr(stdin(), OptionalActions::Flush, &modes)?;
        stderr().write_all(ENTER)?;
        Ok(screen)
    }

    /// Whether the view still has the terminal.
    pub(super) fn is_taken(&self) -> bool {
        BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The next key, if one comes within `patience`.
    pub(super) fn key(&self, patience: Duration) -> io::Result<Option<u8>> {
        let input = stdin();
        let mut waited_for = [PollFd::new(&input, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut waited_for, Some(&patience)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => (),
            Err(error) => return Err(error.into()),
        }
        let mut key = [0];
        match rustix::io::read(&input, &mut key)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Some(key[0])),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if a view has it.
pub(in crate::cli) fn give_back() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = before.take() {
        // A terminal that is gone needs nothing any more.
        let _ = stderr().write_all(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &before);
    }
}
