package agent

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-storage/berth/internal/pool"
)

// poolRooms exports what there is in each pool. They are asked together, when
// somebody wants to know, and one that does not answer has no sample.
type poolRooms struct {
	pools *pools
	asked *sync.Map // name of a pool that was asked and has not answered yet
}

var (
	poolUnfitDesc   = prometheus.NewDesc("berth_pool_unfit", "1 while the pool cannot be used.", []string{"pool"}, nil)
	poolTotalDesc   = prometheus.NewDesc("berth_pool_total_bytes", "What volumes of the pool can have in all.", []string{"pool"}, nil)
	poolFreeDesc    = prometheus.NewDesc("berth_pool_free_bytes", "What is not promised to a volume.", []string{"pool"}, nil)
	poolLargestDesc = prometheus.NewDesc("berth_pool_largest_volume_bytes", "The largest volume that could be carved.", []string{"pool"}, nil)
	poolVolumesDesc = prometheus.NewDesc("berth_pool_volumes", "Volumes in the pool.", []string{"pool"}, nil)
)

// Describe is part of prometheus.Collector.
func (r poolRooms) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{poolUnfitDesc, poolTotalDesc, poolFreeDesc, poolLargestDesc, poolVolumesDesc} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (r poolRooms) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), poolPatience)
	defer cancel()
	var asked sync.WaitGroup
	defer asked.Wait()
	for _, name := range r.pools.Names() {
		gauge := func(d *prometheus.Desc, value int64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), name)
		}
		p, open := r.pools.Get(name)
		if !open {
			gauge(poolUnfitDesc, 1)
			continue
		}
		gauge(poolUnfitDesc, 0)
		if _, waits := r.asked.LoadOrStore(name, true); waits {
			continue
		}
		asked.Go(func() {
			h, err := answer(ctx, func(ctx context.Context) (h holds, err error) {
				defer r.asked.Delete(name)
				if h.room, err = p.Room(ctx); err == nil {
					h.volumes, err = p.Volumes(ctx)
				}
				return h, err
			})
			if err != nil {
				return // it is reported where it is used
			}
			gauge(poolTotalDesc, h.room.Total)
			gauge(poolFreeDesc, h.room.Free)
			gauge(poolLargestDesc, h.room.Largest)
			gauge(poolVolumesDesc, int64(len(h.volumes)))
		})
	}
}

// holds is what there is in a pool.
type holds struct {
	room    pool.Room
	volumes []pool.Volume
}
