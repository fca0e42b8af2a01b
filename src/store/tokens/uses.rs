//! When each secret of a token was last used.

use crate::store::state::State;
use crate::store::statement::{Statement, chunks};
use crate::store::{Store, StoreError};
use crate::time::Time;

impl Store {
    /// Writes when secrets were last used, by their ids. No event: it is no change. What another
    /// replica knows to be later stays.
    ///
    /// # Errors
    /// `Unavailable`; none of them was written.
    pub async fn record_token_uses(&self, uses: Vec<(String, Time)>) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                State::lock(connection).await?;
                for chunk in chunks(&uses) {
                    let mut upsert = Statement::new("INSERT INTO token_uses (id, at) VALUES ");
                    upsert.tuples(chunk.iter().map(|(id, at)| [id.into(), (*at).into()]));
                    upsert.push(
                        " ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE excluded.at > token_uses.at",
                    );
                    upsert.execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
