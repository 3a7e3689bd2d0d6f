package config

import (
	"regexp"
	"strings"
)

// The rules for names are Kubernetes' own, from "Object Names and IDs" and
// "Labels and Selectors" of its documentation. They stand here anew because
// this package is also for programs that link nothing of Kubernetes.
var (
	subdomainForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	labelForm     = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

// subdomain reports whether s is a DNS-1123 subdomain.
func subdomain(s string) bool { return len(s) <= 253 && subdomainForm.MatchString(s) }

// labelValue reports whether s can be a label's value.
func labelValue(s string) bool { return s == "" || len(s) <= 63 && labelForm.MatchString(s) }

// labelKey reports whether s can be a label's key: a name, or a DNS-1123
// subdomain, a slash and a name.
func labelKey(s string) bool {
	prefix, name, found := strings.Cut(s, "/")
	if !found {
		name = s
	} else if !subdomain(prefix) {
		return false
	}
	return name != "" && labelValue(name)
}
