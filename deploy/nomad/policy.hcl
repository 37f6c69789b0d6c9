# Permissions of alloclog's workload identity: read the allocations of every namespace, and the nodes.
#
# With namespace "*" a listing is complete, so that a missing allocation is known to have vanished. If the job may read
# only some namespaces, name these instead: then each namespace is listed separately, and each listing is complete.

namespace "*" {
  capabilities = ["read-job"]
}

# For classes and data centres of the nodes.
node {
  policy = "read"
}

# For `alloclog fetch --logs`, which nothing else needs. It also permits reading the configuration of every agent.
# agent {
#   policy = "read"
# }
