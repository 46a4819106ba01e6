"""kubectl, which renders k8s/ and asks a cluster: the machine's own, or one that is built here."""
