package agent

import "github.com/prometheus/client_golang/prometheus"

// goneVolumes exports how many volumes have lost their disk. Each class of the
// configuration has a sample, so that an alert sees the way back to 0.
type goneVolumes struct{ a *Agent }

var goneVolumesDesc = prometheus.NewDesc("berth_volumes_gone", "Volumes that a claim has or had and whose disk is not there.", []string{"class"}, nil)

// Describe is part of prometheus.Collector.
func (g goneVolumes) Describe(ch chan<- *prometheus.Desc) { ch <- goneVolumesDesc }

// Collect is part of prometheus.Collector.
func (g goneVolumes) Collect(ch chan<- prometheus.Metric) {
	gone := g.a.states.byClass()
	if cfg := g.a.config(); cfg != nil {
		for _, c := range cfg.Classes {
			gone[c.Name] += 0
		}
	}
	for class, n := range gone {
		ch <- prometheus.MustNewConstMetric(goneVolumesDesc, prometheus.GaugeValue, float64(n), class)
	}
}
