//! What can be had: sizes, locations, images, prices.

use super::Client;
use crate::error::ApiError;
use crate::pages::{Filter, List};
use crate::wire::{Architecture, Image, ImageType, Location, Pricing, ServerType};

/// Which images are wanted; deprecated ones are included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilter<'a> {
    /// Exactly this name.
    pub name: Option<&'a str>,
    /// Of this kind only.
    pub kind: Option<ImageType>,
    /// For these instructions only.
    pub architecture: Option<Architecture>,
}

impl Client {
    /// Lists sizes, and where each can be ordered now.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn server_types(&self) -> Result<List<ServerType>, ApiError> {
        self.list(&["server_types"], &Filter::all()).await
    }

    /// Lists locations.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn locations(&self) -> Result<List<Location>, ApiError> {
        self.list(&["locations"], &Filter::all()).await
    }

    /// Lists images.
    ///
    /// # Errors
    /// As every list: that of the first page, or [`ApiError::Partial`].
    pub async fn images(&self, wanted: &ImageFilter<'_>) -> Result<List<Image>, ApiError> {
        let mut filter = Filter::all().with("include_deprecated", "true");
        if let Some(name) = wanted.name {
            filter = filter.with("name", name);
        }
        if let Some(kind) = &wanted.kind {
            filter = filter.with("type", kind.as_str());
        }
        if let Some(architecture) = &wanted.architecture {
            filter = filter.with("architecture", architecture.as_str());
        }
        self.list(&["images"], &filter).await
    }

    /// Returns the project's prices.
    ///
    /// # Errors
    /// None of its own.
    pub async fn pricing(&self) -> Result<Pricing, ApiError> {
        let pricing = self.one(&["pricing"], "pricing").await?;
        pricing.ok_or_else(|| ApiError::Unreadable {
            operation: "GET /pricing".into(),
            why: "there are no prices".into(),
            may_have_happened: false,
        })
    }
}
