//! `k8s-cli auth`: the login. It sends no request; every later request carries the user name, which the server believes.

use crate::{
    api::User,
    cli::{AuthCommand, LoginArgs, LogoutArgs, WhoamiArgs},
    client::{
        Context, Error, Exit,
        config::{self, LoginFile},
    },
};

pub fn run(context: &mut Context<'_>, command: AuthCommand) -> Result<Exit, Error> {
    match command {
        AuthCommand::Login(args) => login(context, args),
        AuthCommand::Whoami(args) => whoami(context, args),
        AuthCommand::Logout(args) => logout(context, args),
    }
}

fn login(context: &mut Context<'_>, args: LoginArgs) -> Result<Exit, Error> {
    let LoginArgs { user, api_url: _ } = args;
    let user: User = user
        .parse()
        .map_err(|error: crate::api::InvalidUser| Error::Usage(error.to_string()))?;
    LoginFile::locate(context.env)?.save(&user)?;
    context.say(&format!("logged in as {user}"));
    Ok(Exit::Done)
}

fn whoami(context: &mut Context<'_>, args: WhoamiArgs) -> Result<Exit, Error> {
    let WhoamiArgs { api_url: _ } = args;
    let user = config::user(None, context.env)?;
    writeln!(context.out, "{user}")?;
    Ok(Exit::Done)
}

fn logout(context: &mut Context<'_>, args: LogoutArgs) -> Result<Exit, Error> {
    let LogoutArgs { api_url: _ } = args;
    let was_logged_in = LoginFile::locate(context.env)?.remove()?;
    context.say(if was_logged_in {
        "logged out"
    } else {
        "you were not logged in"
    });
    Ok(Exit::Done)
}
