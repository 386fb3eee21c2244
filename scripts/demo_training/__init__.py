# SPDX-License-Identifier: GPL-3.0-or-later
"""What `train_demo_model.py` is made of: the model, the scene pool, prompts, losses."""
