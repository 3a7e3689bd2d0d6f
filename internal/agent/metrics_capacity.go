package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-storage/berth/internal/volume"
)

// found is a volume whose disk is there.
type found struct {
	id     volume.ID
	slot   slot
	copies bool // several entries have its identity
}

// found returns the volumes whose disks are there, each once, in no order, and
// the entries that were not looked at yet.
func (s *slots) found() (volumes []found, unseen []slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	volumes = make([]found, 0, len(s.byID))
	for id, keys := range s.byID {
		volumes = append(volumes, found{id, *s.byKey[keys[0]], len(keys) > 1})
	}
	for _, sl := range s.byKey {
		if !sl.looked {
			unseen = append(unseen, *sl)
		}
	}
	return volumes, unseen
}

// capacities exports how large the volumes are whose disks are there now. A
// disk that must not be published counts only if it was.
type capacities struct{ agent *Agent }

var (
	capacityDesc            = prometheus.NewDesc("berth_volume_capacity_bytes", "Capacity of the volumes whose disks are there.", []string{"class"}, nil)
	establishedCapacityDesc = prometheus.NewDesc(establishedPrefix+"persistentvolume_capacity_bytes", "Capacity of the volumes whose disks are there.", []string{"mode"}, nil)
)

// Describe is part of prometheus.Collector.
func (c capacities) Describe(ch chan<- *prometheus.Desc) {
	ch <- capacityDesc
	ch <- establishedCapacityDesc
}

// Collect is part of prometheus.Collector.
func (c capacities) Collect(ch chan<- prometheus.Metric) {
	byClass, byMode := map[string]int64{}, map[string]int64{modeBlock: 0, modeFilesystem: 0}
	if cfg := c.agent.config(); cfg != nil {
		for _, class := range cfg.Classes {
			byClass[class.Name] = 0
		}
	}
	volumes, _ := c.agent.slots.found()
	for _, v := range volumes {
		if v.slot.disk.Refused != "" {
			if _, known := c.agent.journal.Get(v.id); !known {
				continue
			}
		}
		byClass[v.slot.class.Name] += v.slot.disk.CapacityBytes
		byMode[modeOf(v.slot)] += v.slot.disk.CapacityBytes
	}
	for class, bytes := range byClass {
		ch <- prometheus.MustNewConstMetric(capacityDesc, prometheus.GaugeValue, float64(bytes), class)
	}
	for mode, bytes := range byMode {
		ch <- prometheus.MustNewConstMetric(establishedCapacityDesc, prometheus.GaugeValue, float64(bytes), mode)
	}
}
