"""What setup.cfg cannot say: a checkpoint that lies next to the package is installed inside it."""

import os

from setuptools import find_packages, setup

packages = find_packages(include=["bert_tf", "bert_tf.*"])
package_dir = {}
if os.path.isdir("checkpoints/demo_multi_cased"):  # else all but the checkpoint is built
    # A package without code, so that wheel and source archive have it; bert_tf.load finds it there.
    packages.append("bert_tf.embedded.demo_multi_cased")
    package_dir[packages[-1]] = "checkpoints/demo_multi_cased"

setup(packages=packages, package_dir=package_dir)
