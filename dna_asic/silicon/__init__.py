"""The cost model's logic beside synthesis: points of the accelerator space, their measurement, the fit, the report."""
