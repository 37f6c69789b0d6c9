# What the workload identity of the job alloclog may do: read allocations of every namespace, and the nodes.
#
# namespace "*" makes a listing complete, so that an allocation which is missing is known to have vanished. Name the
# namespaces instead if the job may see only some: then each is listed by itself, and is complete by itself.

namespace "*" {
  capabilities = ["read-job"]
}

# Classes and data centres of the nodes.
node {
  policy = "read"
}
