//! Envoy's response flags: the short reason of an answer, in access logs and metrics.

use std::fmt;

macro_rules! flags {
    ($($name:ident = $bit:literal, $short:literal, $doc:literal;)*) => {
        impl Flags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*
            const TABLE: &'static [(Self, &'static str)] = &[$((Self::$name, $short)),*];
        }
    };
}

/// A set of response flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u32);

flags! {
    UH = 0, "UH", "No healthy upstream.";
    UF = 1, "UF", "Upstream connection failure.";
    UO = 2, "UO", "Upstream overflow (circuit breaker).";
    NR = 3, "NR", "No route.";
    URX = 4, "URX", "Retry limit exceeded.";
    NC = 5, "NC", "No such cluster.";
    DC = 6, "DC", "Downstream closed the connection.";
    UT = 7, "UT", "Upstream request timeout.";
    LR = 8, "LR", "Local reset.";
    UR = 9, "UR", "Upstream remote reset.";
    UC = 10, "UC", "Upstream connection termination.";
    DI = 11, "DI", "Delay injected.";
    FI = 12, "FI", "Fault injected.";
    RL = 13, "RL", "Rate limited.";
    UAEX = 14, "UAEX", "Denied by authentication or external authorization.";
    SI = 15, "SI", "Stream idle timeout.";
    DPE = 16, "DPE", "Downstream protocol error.";
    UPE = 17, "UPE", "Upstream protocol error.";
    UMSDR = 18, "UMSDR", "Upstream maximum stream duration reached.";
    OM = 19, "OM", "Overload manager refused.";
    DT = 20, "DT", "Downstream maximum duration reached.";
    NFCF = 21, "NFCF", "No filter chain.";
    DF = 22, "DF", "DNS resolution failed.";
}

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    /// `URX,UF`, or `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        // Envoy prints URX before UF and UT: the order of its own table.
        let first = [(Self::URX, "URX")];
        let rest = Self::TABLE.iter().filter(|(flag, _)| *flag != Self::URX);
        let mut separator = "";
        for (_, short) in first.iter().chain(rest).filter(|(flag, _)| self.has(*flag)) {
            write!(f, "{separator}{short}")?;
            separator = ",";
        }
        Ok(())
    }
}
