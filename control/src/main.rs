//! `sallyport-control`: says that it is not there yet, so that nobody waits for it.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let text = "sallyport-control arrives with a later release.\n\
        Run the gateway alone: sallyport-gateway --config PATH\n";
    // nobody is left to tell when standard error is closed
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(2)
}
