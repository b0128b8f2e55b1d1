//! Advice on installing a missing program.

/// A package that contains a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    /// The name of the package, which is the same in all distributions that have been checked.
    Common(&'static str),
    /// The name of a package that only newer distributions have. Debian 12 does not have it.
    Newer(&'static str),
    /// The name of a project that offers its own packages. Few distributions package the program.
    Project(&'static str),
}

impl Package {
    /// Returns advice on how to install the package with the package manager of this system.
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
