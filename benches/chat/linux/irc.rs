//! The IRC servers `InspIRCd` and ngircd, as built by Debian, with all throttling of clients
//! disabled.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The directory into which `irc-peers.sh` extracts the servers.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/irc-peers");

/// Extracts both servers, unless they have been extracted already.
pub(super) fn prepare() -> Result<()> {
    if Path::new(FOLDER).join("root").exists() {
        return Ok(());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/irc-peers.sh");
    let got = Command::new(script)
        .arg(FOLDER)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {script}"))?;
    ensure!(
        got.success(),
        "cannot be downloaded: this requires Debian's apt-get"
    );
    Ok(())
}

pub(super) fn inspircd(port: u16, folder: &Path) -> Result<Command> {
    let here = folder.display();
    let config = folder.join("inspircd.conf");
    fs::write(
        &config,
        format!(
            r#"<path datadir="{here}" logdir="{here}" runtimedir="{here}" moduledir="{FOLDER}/root/usr/lib/inspircd/modules">
<server name="bench.localhost" description="bench" network="bench">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="all" allow="*" timeout="1h" pingfreq="1h" recvq="1M" softsendq="1G" hardsendq="1G"
         commandrate="1000000" threshold="1000000" fakelag="no" localmax="20000" globalmax="20000" limit="20000"
         useident="no" resolvehostnames="no">
<performance softlimit="20000" somaxconn="4096" clonesonconnect="no">
"#
        ),
    )?;
    let mut command = command("usr/sbin/inspircd");
    command.args(["--nofork", "--nolog", "--nopid", "--config"]);
    command.arg(config);
    if rustix::process::geteuid().is_root() {
        command.arg("--runasroot");
    }
    Ok(command)
}

pub(super) fn ngircd(port: u16, folder: &Path) -> Result<Command> {
    let config = folder.join("ngircd.conf");
    fs::write(
        &config,
        format!(
            "[Global]
Name = bench.localhost
Info = bench
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"
        ),
    )?;
    let mut command = command("usr/sbin/ngircd");
    command.args(["--nodaemon", "--config"]).arg(config);
    Ok(command)
}

fn command(program: &str) -> Command {
    let root = Path::new(FOLDER).join("root");
    let mut command = Command::new(root.join(program));
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", root.join(libraries));
    command
}
