//go:build parts

// Package parts names the Helm command that the cluster builds, so that go.mod
// keeps what it needs. It is never compiled.
package parts

import _ "helm.sh/helm/v4/cmd/helm"
