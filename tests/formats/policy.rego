# A policy as people write them for Terraform's plans: nothing that holds data goes without a word, and images are named by tag.
package policy

import rego.v1

deny contains message if {
	some resource in input.resource_changes
	"delete" in resource.change.actions
	resource.type in {"claw_volume", "claw_server"}
	message := sprintf("%s %s would be deleted", [resource.type, resource.name])
}

deny contains message if {
	some resource in input.resource_changes
	resource.mode == "managed"
	resource.type == "claw_container"
	endswith(resource.change.after.image, ":latest")
	message := sprintf("%s %s has no fixed image", [resource.type, resource.name])
}

secrets contains resource.type if {
	some resource in input.resource_changes
	walk(resource.change.after_sensitive, [path, true])
	walk(resource.change.after, [path, null])
}

planned := count(input.planned_values.root_module.resources)
