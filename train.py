"""The main job: ``python train.py model=convnet``; ``python train.py --help`` lists the choices."""

from lecture4.commands.train import main

if __name__ == "__main__":
    main()
