# Permissions of alloclog's workload identity: read the allocations of every namespace, and the nodes.
#
# namespace "*" makes a listing complete, so that an allocation which is missing is known to have vanished. Name the
# namespaces instead if the job may read only some: then each is listed separately, and each listing is complete.

namespace "*" {
  capabilities = ["read-job"]
}

# For classes and data centres of the nodes.
node {
  policy = "read"
}
