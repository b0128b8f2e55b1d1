//! Terminal handling for the client, the launcher and the server: input, line editing, drawing and
//! styles.

pub(crate) mod background;
pub(crate) mod console;
pub(crate) mod editor;
pub mod input;
pub mod line;
pub(crate) mod log_wrap;
pub(crate) mod member_table;
pub(crate) mod modes;
pub mod name_colors;
pub(crate) mod raw_mode;
pub(crate) mod screen;
pub(crate) mod scrollback;
pub(crate) mod stdin;
pub mod style;
mod terminal;
pub(crate) mod wrap;

pub(crate) use terminal::*;
