//! `k8s-cli auth`: the login, a user name or a token, which every later request carries.

use crate::{
    api::{InvalidUser, User, short_username},
    cli::{AuthCommand, LoginArgs, LogoutArgs, WhoamiArgs},
    client::{
        Context, Error, Exit, config::LoginFile, credentials::read_token, http::Answer, output,
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
    let LoginArgs {
        user,
        token_stdin,
        api_url: _,
    } = args;
    let usage = |message: &str| Error::Usage(message.to_owned());
    let file = LoginFile::locate(context.env)?;
    match (user, token_stdin) {
        (Some(user), false) => {
            let user: User = user
                .parse()
                .map_err(|error: InvalidUser| Error::Usage(error.to_string()))?;
            file.save(&user)?;
            context.say(&format!("logged in as {user}"));
        }
        (None, true) => {
            let mut text = String::new();
            let read = context.input.read_to_string(&mut text);
            let token = read.ok().and_then(|_| read_token(&text));
            let token = token
                .ok_or_else(|| usage("there is no token on standard input: expected one word"))?;
            file.save_token(&token)?;
            context.say("logged in with a token");
        }
        _ => return Err(usage("give a user name, or --token-stdin")),
    }
    Ok(Exit::Done)
}

/// Prints the user, and says which server knows them, and how.
fn whoami(context: &mut Context<'_>, mut args: WhoamiArgs) -> Result<Exit, Error> {
    let client = context.client(args.take_server())?;
    let own = client.user().map(ToString::to_string);
    let (user, report) = match client.whoami() {
        Ok(Answer { value, .. }) => {
            let how = match value.how.as_str() {
                "header" => "by the name that you state",
                "proxy" => "by a proxy",
                "socket" => "by your user on its machine",
                "token" => "by a token of the cluster",
                other => other,
            };
            (value.username, format!("known {how}"))
        }
        // Without its answer, a name that is not stated to the server is not known.
        Err(error) => match (own, &error) {
            (Some(user), Error::Api { status: 404, .. }) => {
                (user, "it does not say how it knows you".to_owned())
            }
            (Some(user), Error::Unreachable { cause, .. }) => {
                (user, format!("it does not answer: {cause}"))
            }
            (Some(user), Error::NoAnswer { .. }) => (user, format!("it does not answer: {error}")),
            _ => return Err(error),
        },
    };
    // A script may give the whole name to --as.
    let shown = match context.terminal.is_read_by_a_person() {
        true => short_username(&user),
        false => &user,
    };
    writeln!(context.out, "{}", output::escape(shown))?;
    let url = client.url();
    context.say(&format!("server {url}: {}", output::escape(&report)));
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
