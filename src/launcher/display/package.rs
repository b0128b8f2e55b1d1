//! How to install a program that is missing.

/// The package that a program is in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    /// A package of this name in every distribution so far.
    Common(&'static str),
    /// The same, but only in newer distributions; Debian 12 does not have it.
    Newer(&'static str),
    /// A package that this project provides, and few distributions have.
    Project(&'static str),
}

impl Package {
    /// How to install the package, with the package manager that is found.
    pub(crate) fn advice(self) -> String {
        const MANAGERS: [(&str, &str); 5] = [
            ("apt-get", "apt-get install"),
            ("dnf", "dnf install"),
            ("pacman", "pacman -S"),
            ("zypper", "zypper install"),
            ("apk", "apk add"),
        ];
        let package = match self {
            Self::Common(package) => package,
            Self::Newer(package) => return format!("newer distributions have a package {package}"),
            Self::Project(project) => return format!("the {project} project has packages"),
        };
        MANAGERS
            .iter()
            .find(|(program, _)| which::which(program).is_ok())
            .map_or_else(
                || format!("try installing the package {package}"),
                |(_, command)| format!("try `sudo {command} {package}`"),
            )
    }
}
