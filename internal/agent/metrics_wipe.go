package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

// stands exports how far the wipes have come that are under way.
type stands struct{ wipings *wipings }

var (
	wipeDoneDesc    = prometheus.NewDesc("berth_wipe_done_bytes", "Bytes of a device that its wipe has erased, over all passes, or read back so far.", []string{"class", "pv", "phase"}, nil)
	wipeSizeDesc    = prometheus.NewDesc("berth_wipe_size_bytes", "Bytes that this phase of a device's wipe has to do.", []string{"class", "pv", "phase"}, nil)
	wipeEntriesDesc = prometheus.NewDesc("berth_wipe_removed_entries", "Entries of a directory that its wipe has removed so far.", []string{"class", "pv"}, nil)
)

// Describe is part of prometheus.Collector.
func (c stands) Describe(ch chan<- *prometheus.Desc) {
	ch <- wipeDoneDesc
	ch <- wipeSizeDesc
	ch <- wipeEntriesDesc
}

// Collect is part of prometheus.Collector.
func (c stands) Collect(ch chan<- prometheus.Metric) {
	running, now := c.wipings.all()
	for i, w := range running {
		switch s := now[i]; {
		case s.Phase == "": // another program's, or just begun
		case s.Total > 0:
			ch <- prometheus.MustNewConstMetric(wipeDoneDesc, prometheus.GaugeValue, float64(s.Done), w.class, w.pv.Name, string(s.Phase))
			ch <- prometheus.MustNewConstMetric(wipeSizeDesc, prometheus.GaugeValue, float64(s.Total), w.class, w.pv.Name, string(s.Phase))
		default:
			ch <- prometheus.MustNewConstMetric(wipeEntriesDesc, prometheus.GaugeValue, float64(s.Entries), w.class, w.pv.Name)
		}
	}
}
