# The todo scenario. Who people are is data, as it is stored in the service.
package todo

default allow := false

roles := data.users[input.subject.id].roles

allow if {
	input.action.name == "can_read_user"
	input.resource.type == "user"
	count(roles) > 0
}

allow if {
	input.action.name == "can_read_todos"
	input.resource.type == "todo"
	count(roles) > 0
}

allow if {
	input.action.name == "can_create_todo"
	input.resource.type == "todo"
	some role in ["editor", "admin"]
	role in roles
}

allow if {
	input.action.name in ["can_update_todo", "can_delete_todo"]
	input.resource.type == "todo"
	"editor" in roles
	input.resource.properties.ownerID == data.users[input.subject.id].email
}

allow if {
	input.action.name == "can_delete_todo"
	input.resource.type == "todo"
	"admin" in roles
}

allow if {
	input.action.name == "can_update_todo"
	input.resource.type == "todo"
	"evil_genius" in roles
}
