//! Advice on installing a missing program.

/// The package that contains a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    /// The package has this name in all distributions that have been checked.
    Common(&'static str),
    /// Like [`Package::Common`], but only newer distributions have the package; Debian 12 does not.
    Newer(&'static str),
    /// The project of this name provides the package, and few distributions do.
    Project(&'static str),
}

impl Package {
    /// Tells the user how to install the package with the package manager of this system.
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
            Self::Project(project) => return format!("the {project} project provides packages"),
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
