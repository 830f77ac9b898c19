//! Answers that last, such as the log of a running task: they end soon after their user may not have them any more.

use std::{
    error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::HeaderMap,
    web::{Bytes, Data},
};

use super::{Access, rights::Right};
use crate::{
    api::Reason,
    executor::{Error, Executor},
};

/// How often it is asked again. What Kubernetes has said is kept for 30 s here and for 10 s by its API server, so an answer ends within
/// a minute.
const INTERVAL: Duration = Duration::from_secs(15);

/// What a request with a token was admitted by.
pub struct Admission {
    pub access: Data<Access>,
    pub executor: Data<Executor>,
    pub headers: HeaderMap,
    pub rights: Vec<Right>,
}

impl Admission {
    /// Waits until the token or one of the rights is lost. That Kubernetes does not answer is no loss.
    pub async fn lost(self) -> Error {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(why) = self.ask().await
                && matches!(why.reason(), Reason::Unauthorized | Reason::Forbidden)
            {
                return why;
            }
        }
    }

    async fn ask(&self) -> Result<(), Error> {
        let Some(tokens) = &self.access.tokens else {
            return Ok(());
        };
        let known = self
            .access
            .known_by_token(tokens, &self.headers, &self.executor)
            .await?;
        for right in &self.rights {
            self.access.require(&known, *right, &self.executor).await?;
        }
        Ok(())
    }
}

/// Ends the body of an answer, if it has no known length, with an error when its admission is lost: so no client takes it for
/// complete, and one that asks again is told why.
pub fn watch<B: MessageBody + 'static>(
    answer: ServiceResponse<B>,
    admission: Admission,
) -> ServiceResponse<BoxBody> {
    answer.map_body(|_, body| match body.size() {
        BodySize::Stream => BoxBody::new(Watched {
            body: body.boxed(),
            lost: Box::pin(admission.lost()),
        }),
        _ => body.boxed(),
    })
}

struct Watched {
    body: BoxBody,
    lost: Pin<Box<dyn Future<Output = Error>>>,
}

impl MessageBody for Watched {
    type Error = Box<dyn error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if let Poll::Ready(why) = self.lost.as_mut().poll(context) {
            return Poll::Ready(Some(Err(why.into())));
        }
        Pin::new(&mut self.body).poll_next(context)
    }
}
