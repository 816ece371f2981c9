//! The command line: what can be asked, and how.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use sallyport_config::diag::Level;

/// What the exit codes mean; the end of every help text.
const EXITS: &str =
    "Exit codes: 0 all is well, 1 findings at or above the threshold, 2 usage or trouble.";

/// Ask what a mesh configuration means.
///
/// Everything works offline, on the files that the gateway reads; commands with --admin ask a
/// running gateway instead.
#[derive(Debug, Parser)]
#[command(name = "sallyctl", version, after_help = EXITS, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find what is wrong with configuration files
    #[command(visible_alias = "check", after_help = EXITS)]
    Analyze(AnalyzeArgs),
    /// Say where a request goes, rule by rule, and why
    #[command(
        after_help = "Example:\n  sallyctl explain GET https://api.example.com/v2/users --config deploy/examples\n\nExit codes: 0 a rule takes the request, 1 none does, 2 usage or trouble."
    )]
    Explain(ExplainArgs),
    /// Show the page of a diagnostic code, like IST0101
    ExplainCode(CodeArgs),
    /// List the sockets and what stands behind them
    Listeners(ViewArgs),
    /// List hosts and their rules, in the order in which they are tried
    Routes(ViewArgs),
    /// List the services that requests can go to
    Clusters(ViewArgs),
    /// List the endpoints of those services
    Endpoints(ViewArgs),
    /// Serve the guide's public gateway on this host, with a certificate and two sample workloads
    #[command(after_help = "Prints curl lines to try. Ctrl-C stops it and leaves nothing behind.")]
    Quickstart(super::quickstart::Quickstart),
    /// Show how every proxy stands with the control process, and what it refuses
    #[command(
        visible_alias = "ps",
        after_help = "Run it where the control process runs.\n\nExit codes: 0 nothing is refused, 1 something is, 2 usage or trouble."
    )]
    ProxyStatus(super::status::StatusArgs),
    /// Make join tokens for hosts of the mesh
    #[command(subcommand)]
    Token(super::token::TokenCommand),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  sallyctl completion bash > ~/.local/share/bash-completion/completions/sallyctl"
    )]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Group)]
pub(super) struct AnalyzeArgs {
    /// Files or directories (searched for .yaml, .yml and .json); `-` is standard input
    #[arg(required_unless_present = "list_codes", value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// How to write findings down
    #[arg(short, long, value_enum, default_value_t = AnalyzeOutput::Human)]
    pub(super) output: AnalyzeOutput,
    /// Least level of findings that makes the exit code 1
    #[arg(long, value_enum, default_value_t = Threshold::Error, value_name = "LEVEL")]
    pub(super) failure_threshold: Threshold,
    /// Leave findings out: a code, or a code on an object whose name may end with `*`
    #[arg(long, value_name = "CODE[=KIND NAMESPACE/NAME]")]
    pub(super) suppress: Vec<String>,
    /// List every code and exit
    #[arg(short = 'L', long)]
    pub(super) list_codes: bool,
    /// Colours in human output
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AnalyzeOutput {
    /// With snippets, for people
    Human,
    /// One line each
    Short,
    /// A JSON array
    Json,
    /// The same as YAML
    Yaml,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// Workflow commands of GitHub Actions
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Threshold {
    /// Only errors
    Error,
    /// Errors and warnings
    Warning,
    /// Anything
    Info,
}

impl Threshold {
    pub(super) fn level(self) -> Level {
        match self {
            Self::Error => Level::Error,
            Self::Warning => Level::Warning,
            Self::Info => Level::Info,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Yes
    Always,
    /// No
    Never,
}

/// Where the answer comes from.
#[derive(Debug, Group)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// Files or directories, as for the gateway
    #[arg(short, long, value_name = "PATH", num_args = 1..)]
    pub(super) config: Vec<PathBuf>,
    /// Ask a running gateway, like http://127.0.0.1:15000
    #[arg(long, value_name = "URL")]
    pub(super) admin: Option<String>,
}

/// Who the gateway is, offline.
#[derive(Debug, Group)]
pub(super) struct Identity {
    /// Namespace of the gateway's workload
    #[arg(long, default_value = "istio-system", value_name = "NAMESPACE")]
    pub(super) namespace: String,
    /// Labels of the gateway's workload
    #[arg(
        long,
        default_value = "istio=ingressgateway",
        value_name = "K=V,…",
        value_delimiter = ','
    )]
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Group)]
pub(super) struct ExplainArgs {
    /// Method, like GET
    pub(super) method: String,
    /// The whole URL, like https://api.example.com/v2/users
    pub(super) url: String,
    /// A header of the request; repeat it for more
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    #[command(flatten)]
    pub(super) source: Source,
    /// Server name of the TLS handshake, if it is not the URL's host
    #[arg(long, value_name = "NAME")]
    pub(super) sni: Option<String>,
    /// Address of the client
    #[arg(long, value_name = "IP")]
    pub(super) source_ip: Option<IpAddr>,
    #[command(flatten)]
    pub(super) identity: Identity,
    /// How to write the answer down
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Human,
    /// JSON
    Json,
}

#[derive(Debug, Group)]
pub(super) struct CodeArgs {
    /// The code, in any letter case
    pub(super) code: String,
}

#[derive(Debug, Group)]
pub(super) struct ViewArgs {
    #[command(flatten)]
    pub(super) source: Source,
    #[command(flatten)]
    pub(super) identity: Identity,
}
