//! `sallyctl explain-code`: the page of one code.

use sallyport_config::diag::codes;

use super::args::CodeArgs;
use super::{Outcome, Trouble, say};

/// Runs the command.
pub(super) fn run(args: &CodeArgs, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    let code = args.code.trim();
    let info = codes::find(code).ok_or_else(|| {
        Trouble::new(format!(
            "there is no code `{code}`; `sallyctl analyze -L` lists them"
        ))
    })?;
    let body = info.page.split_once('\n').map_or("", |(_, rest)| rest);
    say(
        out,
        &format!("# {} {} ({})\n{body}", info.code, info.title, info.level),
    );
    Ok(Outcome::Clean)
}
