// Package metrictest holds a program's metrics to docs/metrics.md. It is for
// tests.
package metrictest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// page is docs/metrics.md, as seen from the directory of a package of internal.
const page = "../../docs/metrics.md"

// Documented fails the test unless the metrics that there are, with type and
// labels, and no others, are in the tables of the page's sections with these
// headings. Those of the Go runtime and the process are left out, and only names
// that Berth has chosen have to be good ones. There has to be a sample of each.
func Documented(t *testing.T, families []*dto.MetricFamily, headings ...string) {
	t.Helper()
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "berth_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	var exported []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		exported = append(exported, f.GetName()+" "+strings.ToLower(f.GetType().String())+" "+strings.Join(labels, ", "))
	}
	documented := rows(t, headings)
	for _, m := range exported {
		if !slices.Contains(documented, m) {
			t.Errorf("exported, and not in docs/metrics.md: %q", m)
		}
	}
	for _, m := range documented {
		if !slices.Contains(exported, m) {
			t.Errorf("in docs/metrics.md, and not exported: %q", m)
		}
	}
}

// rows are the name, type and labels of the metrics in the page's sections.
func rows(t *testing.T, headings []string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, heading := range headings {
		_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
		if !found {
			t.Fatalf("docs/metrics.md has no section %q", heading)
		}
		section, _, _ = strings.Cut(section, "\n#")
		for line := range strings.Lines(section) {
			if cells := strings.Split(strings.ReplaceAll(line, "`", ""), "|"); strings.HasPrefix(line, "| `") {
				all = append(all, strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2])+" "+strings.TrimSpace(cells[3]))
			}
		}
	}
	return all
}
