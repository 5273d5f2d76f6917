//! A bucket's CORS rules. What they decide is answered in `http::cors`.

use super::CofferS3;
use super::convert;
use super::errors::{s3, to_s3};
use coffer_core::bucket::cors::{Cors, CorsRule};
use coffer_core::bucket::{Setting, cors};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

impl CofferS3 {
    pub(super) async fn cors(&self, input: GetBucketCorsInput) -> S3Result<GetBucketCorsOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let code = S3ErrorCode::NoSuchCORSConfiguration;
        let none = || s3(code, "The CORS configuration does not exist.");
        let cors = record.settings.cors.as_ref().ok_or_else(none)?;
        let rules = cors.rules().iter().map(show_rule).collect();
        Ok(GetBucketCorsOutput { cors_rules: Some(rules) })
    }

    pub(super) async fn set_cors(
        &self,
        input: PutBucketCorsInput,
    ) -> S3Result<PutBucketCorsOutput> {
        let rules = input.cors_configuration.cors_rules;
        let rules = rules.into_iter().map(read_rule).collect::<S3Result<_>>()?;
        let cors = Cors::new(rules).map_err(to_s3)?;
        self.set(&input.bucket, Setting::Cors(Some(cors))).await?;
        Ok(PutBucketCorsOutput::default())
    }

    pub(super) async fn drop_cors(
        &self,
        input: DeleteBucketCorsInput,
    ) -> S3Result<DeleteBucketCorsOutput> {
        self.set(&input.bucket, Setting::Cors(None)).await?;
        Ok(DeleteBucketCorsOutput::default())
    }
}

fn show_rule(rule: &CorsRule) -> CORSRule {
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    CORSRule {
        allowed_headers: list(&rule.headers),
        allowed_methods: rule.methods.iter().map(ToString::to_string).collect(),
        allowed_origins: rule.origins.clone(),
        expose_headers: list(&rule.expose),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age_s.map(|s| i32::try_from(s).unwrap_or(i32::MAX)),
    }
}

fn read_rule(rule: CORSRule) -> S3Result<CorsRule> {
    let methods = rule.allowed_methods.iter().map(|m| m.parse());
    let negative = |_| s3(S3ErrorCode::MalformedXML, "MaxAgeSeconds must not be negative.");
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: methods.collect::<Result<_, cors::CorsError>>().map_err(to_s3)?,
        headers: rule.allowed_headers.unwrap_or_default(),
        expose: rule.expose_headers.unwrap_or_default(),
        max_age_s: rule.max_age_seconds.map(u32::try_from).transpose().map_err(negative)?,
    })
}
