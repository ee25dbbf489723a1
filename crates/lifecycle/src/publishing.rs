//! A service together with its instances: made as one, or not at all, and removed as one.

use crate::{
    Error, House, InstanceRef, NewInstanceRequest, NewServiceRequest, Principal, ServiceChoice,
    ServiceId, ServiceRef, ServiceView,
};

impl House {
    /// Makes a service with an instance of `image` at each of `addresses`, or nothing.
    ///
    /// # Errors
    /// As [`Services::create`](crate::Services::create) and
    /// [`Instances::create`](crate::Instances::create).
    pub async fn publish(
        &self,
        principal: &Principal,
        request: NewServiceRequest,
        image: &str,
        addresses: Vec<String>,
    ) -> Result<ServiceId, Error> {
        // A certificate that was requested for the service is not undone with it.
        for address in &addresses {
            self.instances.check_address(principal, address)?;
        }
        let made = self.services.create(principal, request).await?;
        let id = made.service.id;
        for address in addresses {
            let request = NewInstanceRequest {
                image: image.to_owned(),
                address: Some(address),
                service: Some(ServiceChoice::Existing(ServiceRef::Id(id))),
                ..NewInstanceRequest::default()
            };
            let Err(error) = self.instances.create(principal, request).await else {
                continue;
            };
            if let Err(error) = self.undo(principal, id).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    service = %id,
                    "a service that could not be made whole could not be removed"
                );
            }
            return Err(error);
        }
        Ok(id)
    }

    /// Deletes a service with its instances. What somebody else deleted meanwhile is as good as
    /// deleted here.
    ///
    /// # Errors
    /// As [`Services::delete`](crate::Services::delete) and
    /// [`Instances::delete`](crate::Instances::delete), but for [`Error::NotFound`].
    pub async fn withdraw(&self, principal: &Principal, view: &ServiceView) -> Result<(), Error> {
        for (id, _) in &view.instances {
            let instance = InstanceRef::Id(*id);
            gone(self.instances.delete(principal, &instance).await)?;
        }
        let service = ServiceRef::Id(view.service.id);
        gone(self.services.delete(principal, &service).await)
    }

    async fn undo(&self, principal: &Principal, id: ServiceId) -> Result<(), Error> {
        let made = self
            .services
            .find_each(principal, &[ServiceRef::Id(id)])
            .await?;
        match made.first() {
            Some(Some(made)) => self.withdraw(principal, made).await,
            _ => Ok(()),
        }
    }
}

fn gone<T>(deleted: Result<T, Error>) -> Result<(), Error> {
    match deleted {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
