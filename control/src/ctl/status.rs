//! `sallyctl proxy-status`: how every proxy stands with the control process.

use clap::Args;
use serde_json::Value;

use super::args::Output;
use super::{Outcome, Trouble, admin, say, table};

/// Columns of types, as `syncz` names them.
const TYPES: [&str; 6] = ["cds", "lds", "eds", "rds", "ecds", "config"];

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Part of a proxy's name or namespace
    #[arg(value_name = "PROXY")]
    proxy: Option<String>,
    /// Monitoring port of the control process
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:15014")]
    control: String,
    /// How to write the answer down
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Runs the command. A proxy that refuses something is a finding.
pub(super) fn run(args: &StatusArgs, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    let (status, body) = admin::get(&args.control, "/debug/syncz")?;
    if status != 200 {
        let first = body.lines().next().unwrap_or_default();
        return Err(Trouble::new(format!(
            "{} answers {status}: {first}",
            args.control
        )));
    }
    let rows: Value = serde_json::from_str(&body)
        .map_err(|_| Trouble::new(format!("{} is no control process", args.control)))?;
    let wanted = |row: &&Value| {
        let name = text(row, "proxy");
        args.proxy
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    };
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<&Value> = rows.iter().filter(wanted).collect();
    let errors: Vec<String> = rows.iter().flat_map(|row| errors(row)).collect();
    match args.output {
        Output::Json => say(
            out,
            &format!("{:#}\n", Value::from_iter(rows.into_iter().cloned())),
        ),
        Output::Human => {
            let heading = [
                "NAME", "TYPE", "CDS", "LDS", "EDS", "RDS", "ECDS", "CONFIG", "IDENTITY",
            ];
            say(
                out,
                &table::render(&heading, rows.into_iter().map(columns).collect()),
            );
            for error in &errors {
                say(out, &format!("\n{error}\n"));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(Outcome::Clean),
        false => Ok(Outcome::Findings),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `name.namespace` of a node id.
fn name(row: &Value) -> &str {
    let id = text(row, "proxy");
    id.split('~').nth(2).unwrap_or(id)
}

fn columns(row: &Value) -> Vec<String> {
    let mut columns = vec![name(row).to_owned(), text(row, "proxy_type").to_owned()];
    for ty in TYPES {
        let status = row.get(ty).map_or("-", |row| text(row, "status"));
        columns.push(status.to_owned());
    }
    columns.push(text(row, "identity").to_owned());
    columns
}

/// What a proxy refuses, one sentence each.
fn errors(row: &Value) -> Vec<String> {
    let error = |ty: &&'static str| {
        let error = row.get(*ty)?.get("error")?.as_str()?;
        Some(format!(
            "{} refuses {}: {error}",
            name(row),
            ty.to_uppercase()
        ))
    };
    TYPES
        .iter()
        .chain(&["sds", "credentials"])
        .filter_map(error)
        .collect()
}
