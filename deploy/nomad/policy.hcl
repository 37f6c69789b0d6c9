# Permissions of alloclog's workload identity: read the allocations of every namespace, and the nodes.
#
# With namespace "*" a listing is complete, so an allocation that it lacks is known to have vanished. If the job may
# read only some namespaces, name them here instead of "*". alloclog then lists each namespace separately, and each of
# these listings is complete.

namespace "*" {
  capabilities = ["read-job"]
}

# Needed for the classes and data centres of the nodes.
node {
  policy = "read"
}

# Only `alloclog fetch --logs` needs this permission. It also permits reading the configuration of every agent.
# agent {
#   policy = "read"
# }
