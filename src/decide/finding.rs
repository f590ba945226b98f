//! Lists, searches and explanations, asked of the door.

use super::authorized::Action;
use super::door::Door;
use super::error::Refused;
use super::explained::Explained;
use super::permitted::Listed;
use super::question::{Asker, Query, Question, Recorded};
use super::sought::Found;
use super::work::{Among, Explain, List, Search, Work};
use crate::directory::{Kind, Ref, Snapshot};

impl Door {
    /// Finds who, what, or to what, would make a question one that is allowed: up to `limit` after `after`. Recorded as a search.
    ///
    /// # Errors
    /// `Scope`, `Unavailable`, or what makes the question none.
    pub async fn search(
        &self,
        asker: Asker,
        query: Query,
        (after, limit): (Option<String>, usize),
    ) -> Result<(Found, Recorded), Refused> {
        self.ask(self.patience(), |reply, deadline| {
            Work::Search(Box::new(Search {
                asker,
                query,
                after,
                limit,
                reply,
                deadline,
            }))
        })
        .await
    }

    /// Explains the answer to a question. Decided and recorded like the question itself.
    ///
    /// # Errors
    /// `Scope`; `Denied` where it is about somebody about whom they may not ask; `Directory` where what it is about is not there for
    /// them; `Busy` where others wait for theirs; `Unavailable`, or what makes the question none.
    pub async fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Result<(Explained, Recorded), Refused> {
        let turn = tokio::time::timeout(self.patience() / 4, self.explaining.acquire());
        let Ok(Ok(_one)) = turn.await else {
            return Err(Refused::Busy);
        };
        self.ask(self.patience(), |reply, deadline| {
            Work::Explain(Box::new(Explain {
                asker,
                question,
                reply,
                deadline,
            }))
        })
        .await
    }

    /// Those of a kind on which the action is allowed, after `after`, `limit` at most.
    ///
    /// # Errors
    /// `Unavailable`, or what makes the question none.
    pub async fn list<A: Action>(
        &self,
        asker: Asker,
        kind: Kind,
        after: Option<Ref>,
        limit: usize,
    ) -> Result<Listed, Refused> {
        self.list_among::<A>(asker, kind, Among::All(after), limit)
            .await
    }

    /// Those on which the action is allowed of what this finds, in its order, `limit` at most.
    ///
    /// # Errors
    /// The same.
    pub async fn list_of<A: Action>(
        &self,
        asker: Asker,
        kind: Kind,
        choice: impl Fn(&Snapshot) -> Vec<Ref> + Send + Sync + 'static,
        limit: usize,
    ) -> Result<Listed, Refused> {
        self.list_among::<A>(asker, kind, Among::These(Box::new(choice)), limit)
            .await
    }

    async fn list_among<A: Action>(
        &self,
        asker: Asker,
        kind: Kind,
        among: Among,
        limit: usize,
    ) -> Result<Listed, Refused> {
        let page = self
            .ask(self.patience(), |reply, deadline| {
                Work::List(List {
                    asker,
                    action: A::NAME,
                    kind,
                    among,
                    limit,
                    reply,
                    deadline,
                })
            })
            .await?;
        Ok(page.into())
    }
}
