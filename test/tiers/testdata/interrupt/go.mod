module example.com/interrupt

go 1.26.0
