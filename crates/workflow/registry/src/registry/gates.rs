use ropewalk_types::{Alias, ModelName};
use serde_json::json;

use super::versions::notify_of;
use super::{Registry, reading, writing};
use crate::{
    Approval, Attempt, Change, DeclaredGate, Event, GateDeclaration, Interfaces, ModelVersion, Promotion,
    PromotionRequest, RegistryError, Stage, Target, declared, promotion, version,
};

impl Registry {
    /// See [`crate::promote`]; a gate that does not hold is no error.
    ///
    /// What the judgement needs of a version's files is read between two attempts: reading takes its time, and a
    /// transaction would hold up all other writers meanwhile.
    pub async fn promote(&self, request: PromotionRequest) -> Result<Promotion, RegistryError> {
        let mut interfaces = Interfaces::new();
        loop {
            match self.attempt(request.clone(), interfaces.clone()).await? {
                Attempt::Judged(promotion) => return Ok(promotion),
                // Each turn knows one more, and an attempt asks for those that it does not know.
                Attempt::Reads(version) => {
                    interfaces.insert(version.version, self.evidence.interface(&version).await);
                }
            }
        }
    }

    async fn attempt(&self, request: PromotionRequest, interfaces: Interfaces) -> Result<Attempt, RegistryError> {
        let (ambient, evidence) = (self.ambient.clone(), self.evidence.clone());
        let attempted = writing!(self, |connection| async {
            let attempt = promotion::promote(connection, &request, &*evidence, &interfaces).await?;
            if let (Target::Alias(alias), Attempt::Judged(Promotion { outcome, .. })) = (&request.target, &attempt)
                && outcome.held
            {
                let version = request.version.to_string();
                let data = json!({ "name": request.name, "alias": alias, "version": version });
                notify_of(connection, &*ambient, &request.name, Event::ALIAS_CREATED, data).await?;
            }
            Ok::<_, RegistryError>(attempt)
        });
        self.tell(attempted)
    }

    /// Points an alias at a version through [`crate::promote`]. Errors: also [`RegistryError::Refused`].
    pub async fn alias_set(
        &self,
        name: &ModelName,
        alias: &Alias,
        version: u64,
        who: &str,
        why: &str,
    ) -> Result<Promotion, RegistryError> {
        self.promote_or_refuse(self.request(name, version, Target::Alias(alias.clone()), who, why)).await
    }

    /// Changes the stage of a version through [`crate::promote`]; with `archive` the others there go to the archive.
    ///
    /// Errors: also [`RegistryError::Refused`].
    pub async fn stage_set(
        &self,
        name: &ModelName,
        version: u64,
        stage: Stage,
        archive: bool,
        (who, why): (&str, &str),
    ) -> Result<ModelVersion, RegistryError> {
        let request = self.request(name, version, Target::Stage(stage), who, why);
        self.promote_or_refuse(PromotionRequest { archive, ..request }).await?;
        let name = name.clone();
        reading!(self, |connection| version::version_get(connection, &name, version))
    }

    fn request(&self, name: &ModelName, version: u64, target: Target, who: &str, why: &str) -> PromotionRequest {
        PromotionRequest {
            name: name.clone(),
            version,
            target,
            gate: None,
            archive: false,
            who: who.to_owned(),
            why: why.to_owned(),
            at: self.now(),
        }
    }

    /// The refusal is an error only after its record is committed.
    async fn promote_or_refuse(&self, request: PromotionRequest) -> Result<Promotion, RegistryError> {
        let (name, version, target) = (request.name.clone(), request.version, request.target.clone());
        let promotion = self.promote(request).await?;
        if promotion.outcome.held {
            Ok(promotion)
        } else {
            Err(RegistryError::Refused { name, version, target, outcome: Box::new(promotion.outcome) })
        }
    }

    /// See [`crate::alias_delete`].
    pub async fn alias_delete(
        &self,
        name: &ModelName,
        alias: &Alias,
        who: &str,
        why: &str,
    ) -> Result<Option<u64>, RegistryError> {
        let (name, alias, ambient) = (name.clone(), alias.clone(), self.ambient.clone());
        let (who, why) = (who.to_owned(), why.to_owned());
        let deleted = writing!(self, |connection| async {
            let at = ambient.now();
            let pointed = promotion::alias_delete(connection, &name, &alias, &who, &why, at).await?;
            let data = json!({ "name": name, "alias": alias });
            notify_of(connection, &*ambient, &name, Event::ALIAS_DELETED, data).await?;
            Ok::<_, RegistryError>(pointed)
        });
        self.tell(deleted)
    }

    /// See [`crate::history`].
    pub async fn history(&self, name: &ModelName) -> Result<Vec<Change>, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| promotion::history(connection, &name))
    }

    /// See [`crate::gate_declare`].
    pub async fn gate_declare(
        &self,
        name: &ModelName,
        target: Target,
        declaration: Option<GateDeclaration>,
        who: &str,
    ) -> Result<(), RegistryError> {
        let (name, who, at) = (name.clone(), who.to_owned(), self.now());
        writing!(self, |connection| declared::gate_declare(connection, &name, &target, declaration.as_ref(), &who, at))
    }

    /// See [`crate::gate_list`].
    pub async fn gate_list(&self, name: &ModelName, before: bool) -> Result<Vec<DeclaredGate>, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| declared::gate_list(connection, &name, before))
    }

    /// See [`crate::approve`].
    pub async fn approve(
        &self,
        name: &ModelName,
        version: u64,
        target: Option<Target>,
        role: Option<&str>,
        (who, why): (&str, &str),
    ) -> Result<Approval, RegistryError> {
        let (role, who, why) = (role.map(ToOwned::to_owned), who.to_owned(), why.to_owned());
        let approval = Approval { version, target, role, who, why, at: self.now() };
        let (name, kept) = (name.clone(), approval.clone());
        let done: Result<(), RegistryError> = writing!(self, |connection| declared::approve(connection, &name, &kept));
        done.map(|()| approval)
    }

    /// See [`crate::approval_list`].
    pub async fn approval_list(&self, name: &ModelName) -> Result<Vec<Approval>, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| declared::approval_list(connection, &name))
    }

    /// See [`crate::role_member_set`].
    pub async fn role_member_set(&self, role: &str, member: &str, is_one: bool) -> Result<(), RegistryError> {
        let (role, member) = (role.to_owned(), member.to_owned());
        writing!(self, |connection| declared::role_member_set(connection, &role, &member, is_one))
    }

    /// See [`crate::role_list`].
    pub async fn role_list(&self) -> Result<Vec<(String, String)>, RegistryError> {
        reading!(self, |connection| declared::role_list(connection))
    }
}
